{{/* Parts that all pods share. */}}

{{/* Metadata of a pod template. Called with (list . COMPONENT). */}}
{{- define "cifake-tune.pod.metadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "cifake-tune.podLabels" . | nindent 2 }}
annotations:
  {{- if ne (index . 1) "bucket" }}
  checksum/study: {{ include "cifake-tune.study.checksum" $root }}
  {{- end }}
  {{- if and (has (index . 1) (list "chief" "worker")) (not $root.Values.metrics.podMonitor.enabled) (not (hasKey $root.Values.podAnnotations "prometheus.io/scrape")) }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ $root.Values.metrics.port | quote }}
  prometheus.io/path: /metrics
  {{- end }}
  {{- with $root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Security context and placement of a pod. Called with (list . VALUES-OF-THE-COMPONENT). */}}
{{- define "cifake-tune.pod.place" -}}
{{- $root := index . 0 }}{{ $values := index . 1 -}}
enableServiceLinks: false
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- $tolerations := $values.tolerations }}
{{- if $values.gpus }}
{{- $tolerations = append $tolerations (dict "key" "nvidia.com/gpu" "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- if $values.moveAfterSeconds }}
{{- range list "not-ready" "unreachable" }}
{{- $tolerations = append $tolerations (dict "key" (printf "node.kubernetes.io/%s" .) "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" $values.moveAfterSeconds) }}
{{- end }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Image and security context of a container. */}}
{{- define "cifake-tune.container" -}}
image: {{ include "cifake-tune.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Resources of a container, including GPUs. Called with the values of the component. */}}
{{- define "cifake-tune.resources" -}}
{{- $resources := deepCopy .resources }}
{{- if .gpus }}{{ $_ := set $resources "limits" (merge (dict "nvidia.com/gpu" .gpus) ($resources.limits | default dict)) }}{{ end -}}
resources:
  {{- toYaml $resources | nindent 2 }}
{{- end }}

{{/* Environment: study, logs and bucket. */}}
{{- define "cifake-tune.env" -}}
- {name: CIFAKE_TUNE_STUDY, value: /etc/cifake-tune/study.yaml}
{{- if ne .Values.logs.format "text" }}
- {name: CIFAKE_TUNE_LOG_FORMAT, value: {{ .Values.logs.format }}}
{{- end }}
{{- if .Values.bucket.url }}
- {name: CIFAKE_TUNE_BUCKET, value: {{ .Values.bucket.url | quote }}}
{{- else }}
- {name: CIFAKE_TUNE_BUCKET, value: "gs://cifake-tune"}
- {name: STORAGE_EMULATOR_HOST, value: "http://{{ include "cifake-tune.bucket.name" . }}:4443"}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Environment: certificates of the chief and its clients. */}}
{{- define "cifake-tune.env.tls" -}}
{{- if .Values.tls.enabled -}}
- {name: CIFAKE_TUNE_TLS_CERT, value: /etc/cifake-tune-tls/tls.crt}
- {name: CIFAKE_TUNE_TLS_KEY, value: /etc/cifake-tune-tls/tls.key}
- {name: CIFAKE_TUNE_TLS_CA, value: /etc/cifake-tune-tls/ca.crt}
{{- end }}
{{- end }}

{{/* Environment: the release, which a chief names when it takes over a study, and in its messages to workers. */}}
{{- define "cifake-tune.env.release" -}}
- {name: CIFAKE_TUNE_RELEASE, value: {{ .Release.Name | quote }}}
- name: CIFAKE_TUNE_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}

{{/* Environment: address of the metrics and health endpoint of the chief and the workers. */}}
{{- define "cifake-tune.env.http" -}}
- {name: CIFAKE_TUNE_HTTP, value: "0.0.0.0:{{ .Values.metrics.port }}"}
{{- end }}

{{/* Probes of the chief and the workers. A check takes 5 s if the process is blocked. */}}
{{- define "cifake-tune.probes" -}}
startupProbe:  # long enough to import Keras on a busy node with a cold image
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  timeoutSeconds: 6
  failureThreshold: 300
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 20
  timeoutSeconds: 6
  failureThreshold: 6
{{- end }}

{{- define "cifake-tune.volumeMounts" -}}
- {name: scratch, mountPath: /scratch}
- {name: study, mountPath: /etc/cifake-tune/study.yaml, subPath: study.yaml, readOnly: true}
{{- if .Values.space.code }}
- {name: space, mountPath: /etc/cifake-tune/space, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cifake-tune.volumeMounts.tls" -}}
{{- if .Values.tls.enabled -}}
- {name: tls, mountPath: /etc/cifake-tune-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "cifake-tune.volumes" -}}
- {name: scratch, emptyDir: {}}
- {name: study, configMap: {name: {{ include "cifake-tune.study.name" . }}}}
{{- if .Values.space.code }}
- {name: space, configMap: {name: {{ include "cifake-tune.space.name" . }}}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cifake-tune.volumes.tls" -}}
{{- if .Values.tls.enabled -}}
- {name: tls, secret: {secretName: {{ include "cifake-tune.tls.name" . }}, defaultMode: 0440}}
{{- end }}
{{- end }}
