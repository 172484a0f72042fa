{{/*
The environment of each container, as docker-compose.yaml has it; tests/architecture compares the two, setting by setting.
Each template yields a YAML mapping, which "yp.env" turns into a container's list.
*/}}
{{- define "yp.env" -}}
{{- range $name, $value := fromYaml . }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* A setting's value as text: Helm reads every number as a fraction, and would write 7776000 as 7.776e+06. */}}
{{- define "yp.setting" -}}
{{- $value := get .root.Values.settings .name -}}
{{- if kindIs "float64" $value -}}
{{ eq (floor $value) $value | ternary (printf "%d" (int64 $value)) (toString $value) }}
{{- else -}}
{{ toString $value }}
{{- end -}}
{{- end }}

{{/* Some settings under their own names. Takes the root, and the names in one text or several. */}}
{{- define "yp.settings" -}}
{{- $root := first . -}}
{{- range rest . | join " " | splitList " " }}
{{ . }}: {{ include "yp.setting" (dict "root" $root "name" .) | quote }}
{{- end }}
{{- end }}

{{- define "yp.host" -}}
{{ include "yp.name" (dict "root" .root "component" .component) }}
{{- end }}

{{/* Hosts that are reached without a proxy. */}}
{{- define "yp.env.direct" -}}
{{- $root := . -}}
{{- $hosts := list -}}
{{- range list "server" "git-server" "yeedu-mock" "warehouse" "postgres" }}
{{- $hosts = append $hosts (include "yp.host" (dict "root" $root "component" .)) }}
{{- end }}
DIRECT_HOSTS: {{ concat $hosts (list "localhost" "127.0.0.1" "::1") | join "," }}
{{- end }}

{{- define "yp.env.certificates" -}}
CA_CERT_FILE: /run/secrets/ca-cert
{{- end }}

{{- define "yp.env.database" -}}
PREFECT_SERVER_DATABASE_DRIVER: postgresql+asyncpg
{{- if include "yp.hasPostgres" . }}
PREFECT_SERVER_DATABASE_HOST: {{ include "yp.host" (dict "root" . "component" "postgres") }}
{{- else }}
{{- include "yp.settings" (list .
  "PREFECT_SERVER_DATABASE_HOST"
  "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED"
) }}
PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_STATEMENT_CACHE_SIZE: "100"
PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_PREPARED_STATEMENT_CACHE_SIZE: "100"
{{- end }}
{{- include "yp.settings" (list .
  "PREFECT_SERVER_DATABASE_PORT PREFECT_SERVER_DATABASE_NAME"
  "PREFECT_SERVER_DATABASE_USER"
) }}
PREFECT_SERVER_DATABASE_PASSWORD_FILE: /run/platform/database/postgres-password
PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW: "0"
PREFECT_SERVER_DATABASE_MIGRATE_ON_START: "false" # an init container runs the migrations, under a lock of its own
PREFECT_SERVER_ENCRYPTION_KEY_FILE: /run/platform/server/encryption-key
{{- end }}

{{- define "yp.env.migrate" -}}
{{ include "yp.env.database" . }}
{{ include "yp.env.certificates" . }}
PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE: {{ include "yp.isScaled" . | empty | ternary "15" "10" | quote }}
{{- if include "yp.isScaled" . }}
API_SERVERS: {{ .Values.server.replicas | quote }}
{{- end }}
PREFECT_HOME: /tmp/prefect
{{- end }}

{{- define "yp.env.server" -}}
{{ include "yp.env.database" . }}
PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE: {{ include "yp.isScaled" . | empty | ternary "15" "10" | quote }}
{{ include "yp.env.certificates" . }}
{{ include "yp.env.direct" . }}
PLATFORM_VERSION: {{ include "yp.version" . | quote }}
{{- $name := include "yp.host" (dict "root" . "component" "server") }}
{{- $inside := printf "%s.%s.svc,%s.%s.svc.cluster.local" $name .Release.Namespace $name .Release.Namespace }}
# By the last two pods of other namespaces reach it; nobody outside can own such a name.
PREFECT_ALLOWED_HOSTS: {{ compact (list .Values.settings.PREFECT_ALLOWED_HOSTS $inside) | join "," }}
{{- include "yp.settings" (list . "PREFECT_UI_URL") }}
PREFECT_SERVER_CORS_ALLOWED_ORIGINS: {{ include "yp.setting" (dict "root" . "name" "PREFECT_UI_URL") | quote }}
PREFECT_SERVER_API_AUTH_STRING_FILE: /run/platform/api/auth-string
PREFECT_API_AUTH_STRING_FILE: /run/platform/api/auth-string
PREFECT_SERVER_UI_API_URL: /api
PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT: "false"
PREFECT_SERVER_ANALYTICS_ENABLED: "false"
PREFECT_SERVER_API_BLOCKS_REGISTER_ON_START: "false"
PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED: events,flow_runs
PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD: {{ include "yp.setting" (dict "root" . "name" "RETENTION_SECONDS") | quote }}
PREFECT_SERVER_EVENTS_RETENTION_PERIOD: PT{{ include "yp.setting" (dict "root" . "name" "EVENT_RETENTION_SECONDS") }}S
{{- if include "yp.isScaled" . }}
{{ include "yp.env.scaled" . }}
{{- else }}
PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE: prefect.server.concurrency.lease_storage.filesystem
{{- end }}
{{- end }}

{{/* What several servers and their services share lies in Redis: all follows from its address, as with deploy/scale.yaml. */}}
{{- define "yp.env.scaled" -}}
{{- $own := printf "redis://%s:6379" (include "yp.host" (dict "root" . "component" "redis")) -}}
REDIS_URL: {{ .Values.settings.REDIS_URL | default $own | quote }}
REDIS_PASSWORD_FILE: /run/platform/redis/redis-password
PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE: prefect_redis.lease_storage
PREFECT_HOME: /tmp/prefect
{{- end }}

{{- define "yp.env.api-server" -}}
{{ include "yp.env.server" . }}
{{- if include "yp.isScaled" . }}
PREFECT__SERVER_WEBSERVER_ONLY: "true"
{{- end }}
{{- with .Values.ingress.proxyHost }}
PROXY_HOST: {{ . }}
{{- end }}
{{- end }}

{{- define "yp.env.services" -}}
{{ include "yp.env.server" . }}
PREFECT_SERVER_UI_ENABLED: "false"
{{- end }}

{{- define "yp.env.api" -}}
{{- $ui := include "yp.setting" (dict "root" . "name" "PREFECT_UI_URL") -}}
{{ include "yp.env.direct" . }}
PREFECT_API_AUTH_STRING_FILE: /run/platform/api/auth-string
{{- if include "yp.hasServer" . }}
PREFECT_API_URL: http://{{ include "yp.host" (dict "root" . "component" "server") }}:4200/api
PREFECT_UI_URL: {{ $ui | quote }}
{{- else }}
PREFECT_API_URL: {{ .Values.settings.PREFECT_API_URL | quote }}
PREFECT_API_KEY_FILE: /run/platform/key/api-key
{{- if ne $ui "http://localhost:8080" }}
PREFECT_UI_URL: {{ $ui | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "yp.env.flows" -}}
{{- $git := printf "http://%s:8080" (include "yp.host" (dict "root" . "component" "git-server")) -}}
FLOWS_GIT_URL: {{ .Values.settings.FLOWS_GIT_URL | default (printf "%s/flows.git" $git) | quote }}
{{- include "yp.settings" (list . "FLOWS_GIT_REF") }}
FLOWS_GIT_SSH_KEY_FILE: /run/platform/git/ssh-key
FLOWS_GIT_KNOWN_HOSTS_FILE: /run/platform/git/known-hosts
GIT_CONFIG_COUNT: "1"
GIT_CONFIG_KEY_0: credential.{{ $git }}.helper
GIT_CONFIG_VALUE_0: /usr/local/bin/git-credential-platform
{{- end }}

{{- define "yp.env.workers" -}}
{{- include "yp.settings" (list .
  "WORKER_LIMIT WORKER_GRACE_SECONDS WORKER_HUNG_SECONDS WORKER_RUN_PROCESSES"
  "WORKER_RUN_FILE_MEGABYTES DASK_SCHEDULER_ADDRESS YEEDU_UI_URL"
) }}
PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"
PREFECT_WORKER_QUERY_SECONDS: {{ include "yp.setting" (dict "root" . "name" "WORKER_QUERY_SECONDS") | quote }}
PREFECT_WORKER_WEBSERVER_HOST: 127.0.0.1
PREFECT_WORKER_WEBSERVER_PORT: "8081"
{{- end }}

{{- define "yp.env.worker" -}}
{{ include "yp.env.api" . }}
{{ include "yp.env.flows" . }}
{{ include "yp.env.certificates" . }}
{{ include "yp.env.workers" . }}
{{- include "yp.settings" (list . "WORKER_QUEUES WORKER_PREFORK WORKER_CHECKOUT_CACHE_MEGABYTES RESULT_RETENTION_SECONDS") }}
{{- end }}

{{- define "yp.env.image-worker" -}}
{{ include "yp.env.api" . }}
{{ include "yp.env.certificates" . }}
{{ include "yp.env.workers" . }}
PREFECT_HOME: /tmp/prefect
WORKER_POOL: image-pool
WORKER_PREFORK: "false"
{{- end }}

{{- define "yp.env.kubernetes-worker" -}}
{{ include "yp.env.api" . }}
{{ include "yp.env.certificates" . }}
PREFECT_HOME: /tmp/prefect
PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30" # handed on to the jobs
PREFECT_WORKER_QUERY_SECONDS: {{ include "yp.setting" (dict "root" . "name" "WORKER_QUERY_SECONDS") | quote }}
PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES: {{ .Values.kubernetesWorker.namespace | default .Release.Namespace }}
{{- range $what, $key := dict "API_AUTH_STRING" "PREFECT_API_AUTH_STRING" "API_KEY" "PREFECT_API_KEY" }}
{{- if eq $key (include "yp.jobLogin" $) }}
PREFECT_INTEGRATIONS_KUBERNETES_WORKER_{{ $what }}_SECRET_NAME: {{ include "yp.jobSecret" $ }}
PREFECT_INTEGRATIONS_KUBERNETES_WORKER_{{ $what }}_SECRET_KEY: {{ $key }}
{{- end }}
{{- end }}
{{- end }}

{{- define "yp.env.deployer" -}}
{{- $root := . -}}
{{ include "yp.env.api" . }}
{{ include "yp.env.flows" . }}
{{ include "yp.env.certificates" . }}
PREFECT_HOME: /tmp/prefect
CONFIG_DIR: /etc/deployer
CHECKOUT_DIR: /etc/platform
FLOWS_GIT_TOKEN_FILE: /run/platform/deployer/git-token
GITHUB_TOKEN_FILE: /run/platform/deployer/github-token
{{- $warehouse := printf "postgresql://warehouse@%s:5432/warehouse" (include "yp.host" (dict "root" . "component" "warehouse")) }}
WAREHOUSE_URL: {{ .Values.settings.WAREHOUSE_URL | default (.Values.warehouse.enabled | ternary $warehouse "") | quote }}
WAREHOUSE_PASSWORD_FILE: /run/platform/deployer/warehouse-password
ALERT_WEBHOOK_URL_FILE: /run/platform/deployer/alert-webhook-url
ALERT_SLACK_WEBHOOK_URL_FILE: /run/platform/deployer/alert-slack-webhook-url
ALERT_SENDGRID_API_KEY_FILE: /run/platform/deployer/alert-sendgrid-api-key
YEEDU_PASSWORD_FILE: /run/platform/deployer/yeedu-password
YEEDU_TOKEN_FILE: /run/platform/deployer/yeedu-token
{{- include "yp.settings" (list . "PREFECT_FILE ALERT_EMAIL_FROM ALERT_EMAIL_TO YEEDU_USERNAME YEEDU_VERIFY_SSL") }}
{{- $mock := printf "http://%s:8080" (include "yp.host" (dict "root" . "component" "yeedu-mock")) }}
{{- $spark := printf "%s/tenant/0b7c2f6e-5d0a-4c57-9f3e-6a1d2b3c4d5e/workspace/1/spark" $mock }}
{{- $demonstrated := dict
  "YEEDU_JOB_URL" (printf "%s/job/101" $spark)
  "YEEDU_NOTEBOOK_URL" (printf "%s/notebook/201" $spark)
  "YEEDU_HEALTH_URL" (printf "%s/healthCheck" $mock)
}}
{{- range $name, $url := $demonstrated }}
{{ $name }}: {{ get $root.Values.settings $name | default ($root.Values.demonstration.enabled | ternary $url "") | quote }}
{{- end }}
{{- if .Values.kubernetesWorker.enabled }}
KUBERNETES_JOB_IMAGE: {{ include "yp.image" (dict "root" . "image" "worker") }}
KUBERNETES_JOB_NAMESPACE: {{ .Values.kubernetesWorker.namespace | default .Release.Namespace }}
{{- $server := include "yp.host" (dict "root" . "component" "server") }}
KUBERNETES_API_URL: {{ .Values.settings.PREFECT_API_URL | default (printf "http://%s.%s.svc:4200/api" $server .Release.Namespace) }}
{{- end }}
{{- end }}

{{- define "yp.env.rescue" -}}
{{ include "yp.env.api" . }}
{{- include "yp.settings" (list . "RESCUE_HEARTBEAT_SECONDS RESCUE_PENDING_SECONDS RESCUE_ATTEMPTS RESCUE_WORKER_SECONDS") }}
{{- if not (include "yp.hasServer" .) }}
{{ include "yp.env.certificates" . }}
PREFECT_HOME: /tmp/prefect
{{- include "yp.settings" (list . "RESCUE_WORK_POOLS") }}
{{- end }}
{{- end }}

{{- define "yp.env.yeedu-watch" -}}
{{ include "yp.env.api" . }}
{{ include "yp.env.certificates" . }}
PREFECT_HOME: /tmp/prefect
YEEDU_WATCH_FILE: /tmp/round
{{- include "yp.settings" (list . "YEEDU_WATCH_SECONDS") }}
{{- end }}

{{- define "yp.env.yeedu-mock" -}}
YEEDU_MOCK_HOST: "::"
YEEDU_MOCK_PASSWORD_FILE: /run/platform/mock/yeedu-password
YEEDU_MOCK_EXTERNAL_URL: http://localhost:{{ include "yp.setting" (dict "root" . "name" "YEEDU_MOCK_PORT") }}
{{- include "yp.settings" (list . "YEEDU_MOCK_AUTH_TYPE YEEDU_MOCK_ALLOWED_HOSTS") }}
{{- end }}

{{- define "yp.env.postgres" -}}
POSTGRES_USER: {{ .Values.settings.PREFECT_SERVER_DATABASE_USER }}
POSTGRES_DB: {{ .Values.settings.PREFECT_SERVER_DATABASE_NAME }}
POSTGRES_PASSWORD_FILE: /run/platform/database/postgres-password
PGDATA: /var/lib/postgresql/data/pgdata # the volume's own folder may hold a lost+found
{{- end }}

{{- define "yp.env.warehouse" -}}
POSTGRES_USER: warehouse
POSTGRES_DB: warehouse
POSTGRES_PASSWORD_FILE: /run/platform/warehouse/postgres-password
PGDATA: /var/lib/postgresql/data/pgdata
{{- end }}
