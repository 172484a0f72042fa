{{/*
What every pod has: no rights, no account of the cluster's, no variables of other Services, and a first process that
ends what the others leave behind.
Takes root, component, and optionally user (10001), grace (seconds), and account (a ServiceAccount).
*/}}
{{- define "yp.pod" -}}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .account }}
serviceAccountName: {{ . }}
{{- end }}
automountServiceAccountToken: {{ .account | empty | not }}
enableServiceLinks: false # YEEDU_MOCK_PORT and others would be taken for settings
{{- /* A Postgres that is not the first process may take what is left of its last one's lock for another's. */}}
{{- if not (has .component (list "postgres" "warehouse" "redis")) }}
shareProcessNamespace: true # as `init: true` of Compose
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 10001 }}
  runAsGroup: {{ .user | default 10001 }}
  fsGroup: {{ .user | default 10001 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .grace }}
terminationGracePeriodSeconds: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container has. Takes root, image (of the platform) or foreignImage, and resources. */}}
{{- define "yp.container" -}}
image: {{ .foreignImage | empty | ternary (include "yp.image" .) (include "yp.foreignImage" (dict "root" .root "image" .foreignImage)) }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .resources | nindent 2 }}
{{- end }}

{{- define "yp.ownVariables" -}}
{{- if .Values.ownVariables }}
envFrom:
  - configMapRef: {name: {{ include "yp.name" (dict "root" . "component" "own-variables") }}}
{{- end }}
{{- end }}

{{/* A folder in memory, which counts as its container's. */}}
{{- define "yp.tmp" -}}
- {name: tmp, emptyDir: {medium: Memory}}
{{- end }}

{{- define "yp.caMount" -}}
{{- if .Values.caCertificate.existingConfigMap }}
- {name: ca-certificate, mountPath: /run/secrets/ca-cert, subPath: {{ .Values.caCertificate.key }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "yp.caVolume" -}}
{{- with .Values.caCertificate.existingConfigMap }}
- {name: ca-certificate, configMap: {name: {{ . }}}}
{{- end }}
{{- end }}

{{/* A check that runs a command, as the one of Compose does. Takes command, and seconds between two. */}}
{{- define "yp.execProbe" -}}
exec: {command: {{ toJson .command }}}
periodSeconds: {{ .period | default 15 }}
timeoutSeconds: 5
failureThreshold: {{ .failures | default 4 }}
{{- end }}

{{- define "yp.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .className }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .size }}}}
{{- end }}

{{/* Brings the database to the state that the image's Prefect expects; whoever comes second waits, and finds it done. */}}
{{- define "yp.migrate" -}}
- name: migrate
  {{- include "yp.container" (dict "root" . "image" "server" "resources" .Values.server.resources) | nindent 2 }}
  args: [python, /opt/server/migrate.py]
  env: {{- include "yp.env" (include "yp.env.migrate" .) | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    {{- include "yp.secretMounts" (dict "root" . "folders" (list "database" "server")) | nindent 4 }}
    {{- include "yp.caMount" . | nindent 4 }}
{{- end }}
