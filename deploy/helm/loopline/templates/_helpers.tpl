{{- define "loopline.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "loopline.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .service }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .workload }}
loopline/workload: {{ . }}
{{- end }}
{{- end -}}

{{- define "loopline.labels" -}}
{{ include "loopline.selector" . }}
app.kubernetes.io/part-of: loopline
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "loopline.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "loopline.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "loopline.image" -}}
{{- printf "%s/%s:%s" .root.Values.image.repository .service (default .root.Chart.AppVersion .root.Values.image.tag) -}}
{{- end -}}

{{- define "loopline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "loopline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "loopline.servers" -}}
- { name: LOOPLINE_WORKSPACE, value: {{ .Values.workspace | quote }} }
- { name: LOOPLINE_NATS_URL, value: {{ .Values.nats.url | quote }} }
- { name: LOOPLINE_S3_ENDPOINT, value: {{ .Values.s3.endpoint | quote }} }
- { name: LOOPLINE_S3_SECURE, value: {{ .Values.s3.secure | quote }} }
{{- end -}}

{{/* Whether KEDA decides how many there are. */}}
{{- define "loopline.scaled" -}}
{{- if and .root.Values.keda.enabled (dig "scaling" "enabled" false .its) -}}true{{- end -}}
{{- end -}}

{{/* Whether its data outlive it on a volume: one process, one volume. */}}
{{- define "loopline.persistent" -}}
{{- if and (dig "persistence" "enabled" false .its) (not .its.databaseSecret) -}}true{{- end -}}
{{- end -}}
