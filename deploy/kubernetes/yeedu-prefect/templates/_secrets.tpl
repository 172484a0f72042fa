{{/*
Every secret by the folder below /run/platform that has it, its setting, and its file: those of server/generate_secrets.py,
and a test holds the two together.
*/}}
{{- define "yp.secretFiles" -}}
database: {POSTGRES_PASSWORD: postgres-password}
server: {PREFECT_SERVER_ENCRYPTION_KEY: encryption-key}
api: {PREFECT_API_AUTH_STRING: auth-string}
key: {PREFECT_API_KEY: api-key}
mock: {YEEDU_MOCK_PASSWORD: yeedu-password}
warehouse: {WAREHOUSE_POSTGRES_PASSWORD: postgres-password}
git: {FLOWS_GIT_SSH_KEY: ssh-key, FLOWS_GIT_KNOWN_HOSTS: known-hosts}
redis: {REDIS_PASSWORD: redis-password, REDIS_USERS: users.acl}
deployer:
  YEEDU_TOKEN: yeedu-token
  YEEDU_PASSWORD: yeedu-password
  WAREHOUSE_PASSWORD: warehouse-password
  FLOWS_GIT_TOKEN: git-token
  GITHUB_TOKEN: github-token
  ALERT_WEBHOOK_URL: alert-webhook-url
  ALERT_SLACK_WEBHOOK_URL: alert-slack-webhook-url
  ALERT_SENDGRID_API_KEY: alert-sendgrid-api-key
{{- end }}

{{/* The Secret that has a key: the user's own, where it is said to have it, else the release's. */}}
{{- define "yp.secretOf" -}}
{{- $existing := .root.Values.secrets.existing -}}
{{- if has .key $existing.keys -}}
{{ required "secrets.existing.keys are set; name the Secret that has them: secrets.existing.name" $existing.name }}
{{- else -}}
{{ include "yp.name" (dict "root" .root "component" "secrets") }}
{{- end -}}
{{- end }}

{{/* By which of the two flow runs in jobs log in, and the Secret in their own namespace that has it. */}}
{{- define "yp.jobLogin" -}}
{{- $hasKey := or .Values.secrets.values.PREFECT_API_KEY (has "PREFECT_API_KEY" .Values.secrets.existing.keys) -}}
{{ empty $hasKey | ternary "PREFECT_API_AUTH_STRING" "PREFECT_API_KEY" }}
{{- end }}
{{- define "yp.jobSecret" -}}
{{- if has (include "yp.jobLogin" .) .Values.secrets.existing.keys -}}
{{ .Values.secrets.existing.name }}
{{- else -}}
{{ include "yp.name" (dict "root" . "component" "kubernetes-worker") }}
{{- end -}}
{{- end }}

{{/* The names of folders, where `client` stands for those of who asks the server. */}}
{{- define "yp.folders" -}}
{{ .folders | join " " | replace "client" (include "yp.hasServer" .root | empty | ternary "api key" "api") }}
{{- end }}

{{/* Volumes with the secrets of some folders, and where they are mounted: each container sees what it needs, no more. */}}
{{- define "yp.secretVolumes" -}}
{{- $root := .root -}}
{{- $files := fromYaml (include "yp.secretFiles" .) -}}
{{- range $folder := splitList " " (include "yp.folders" .) }}
- name: {{ $folder }}-secrets
  projected:
    defaultMode: 0444
    sources:
      {{- range $key, $file := get $files $folder }}
      - secret:
          name: {{ include "yp.secretOf" (dict "root" $root "key" $key) }}
          items: [{key: {{ $key }}, path: {{ $file }}}]
      {{- end }}
{{- end }}
{{- end }}

{{- define "yp.secretMounts" -}}
{{- range splitList " " (include "yp.folders" .) }}
- {name: {{ . }}-secrets, mountPath: /run/platform/{{ . }}, readOnly: true}
{{- end }}
{{- end }}
