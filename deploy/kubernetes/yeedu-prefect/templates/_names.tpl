{{/* What a component is called, and with it its Service: in a release of its own, next to others. */}}
{{- define "yp.name" -}}
{{ printf "%s-%s" .root.Release.Name .component | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "yp.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "yp.labels" -}}
{{ include "yp.selector" . }}
app.kubernetes.io/version: {{ include "yp.version" .root | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "yp.metadata" -}}
name: {{ include "yp.name" . }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "yp.labels" . | nindent 2 }}
{{- end }}

{{- define "yp.version" -}}
{{ .Values.images.tag | default .Chart.AppVersion }}
{{- end }}

{{/* An image of the platform: PREFIX-NAME:VERSION, in a registry or in none, as docker-compose.images.yaml names it. */}}
{{- define "yp.image" -}}
{{- $registry := .root.Values.images.registry -}}
{{ $registry }}{{ $registry | empty | ternary "" "/" }}{{ .root.Values.images.prefix }}-{{ .image }}:{{ include "yp.version" .root }}
{{- end }}

{{/* An image that is not the platform's own, which a registry has under the same name. */}}
{{- define "yp.foreignImage" -}}
{{- $registry := .root.Values.images.registry -}}
{{ $registry }}{{ $registry | empty | ternary "" "/" }}{{ .image }}
{{- end }}

{{/* Whether the chart brings the server, rather than that it is another one: "true", or nothing. */}}
{{- define "yp.hasServer" -}}
{{ .Values.settings.PREFECT_API_URL | empty | ternary "true" "" }}
{{- end }}

{{/* Several servers. */}}
{{- define "yp.isScaled" -}}
{{- if and (include "yp.hasServer" .) (gt (int .Values.server.replicas) 1) -}}
true
{{- end }}
{{- end }}

{{/* Whether Prefect's data lies in this chart's Postgres, and Redis' in its Redis. */}}
{{- define "yp.hasPostgres" -}}
{{- if and (include "yp.hasServer" .) (empty .Values.settings.PREFECT_SERVER_DATABASE_HOST) -}}
true
{{- end }}
{{- end }}
{{- define "yp.hasRedis" -}}
{{- if and (include "yp.isScaled" .) (empty .Values.settings.REDIS_URL) -}}
true
{{- end }}
{{- end }}
