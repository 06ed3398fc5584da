{{/* "true" if the release runs its own bucket, otherwise empty. */}}
{{- define "cifake-tune.bucket.own" -}}
{{- if not (or .Values.bucket.url .Values.bucket.persistentVolumeClaim.claimName) }}true{{ end }}
{{- end }}

{{/* URL of the bucket, as the pods open it. */}}
{{- define "cifake-tune.bucket.url" -}}
{{- if .Values.bucket.persistentVolumeClaim.claimName }}/bucket{{ else }}{{ .Values.bucket.url | default "gs://cifake-tune" }}{{ end }}
{{- end }}

{{/* Mount and volume of a bucket that is a folder of an existing PersistentVolumeClaim. */}}
{{- define "cifake-tune.volumeMounts.bucket" -}}
{{- with .Values.bucket.persistentVolumeClaim }}
{{- if .claimName }}
- {name: bucket, mountPath: /bucket{{ with .subPath }}, subPath: {{ quote . }}{{ end }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "cifake-tune.volumes.bucket" -}}
{{- with .Values.bucket.persistentVolumeClaim.claimName }}
- {name: bucket, persistentVolumeClaim: {claimName: {{ . }}}}
{{- end }}
{{- end }}

{{/* "true" if the release's own bucket has a volume that outlives its pod, otherwise empty. This depends only on the values,
     because tools that only render the chart cannot look into the cluster. */}}
{{- define "cifake-tune.bucket.persistent" -}}
{{- if ne .Values.bucket.emulator.storageClass "-" }}true{{ end }}
{{- end }}

{{/* Fail if an upgrade would replace a bucket without a volume, because its study would be lost. Older charts ran the
     bucket without a volume if the cluster had no default StorageClass. */}}
{{- define "cifake-tune.bucket.check" -}}
{{- $name := include "cifake-tune.bucket.name" . }}
{{- if include "cifake-tune.bucket.persistent" . }}
{{- range dig "spec" "template" "spec" "volumes" list (lookup "apps/v1" "Deployment" .Release.Namespace $name | default dict) }}
{{- if and (eq .name "bucket") (hasKey . "emptyDir") }}
{{- fail (printf "the bucket of this release has no volume (bucket.emulator.storageClass was \"-\", or an older chart found no default StorageClass), and moving it to one would lose its study; write bucket.emulator.storageClass=\"-\" to leave it without a volume, or save the study as docs/kubernetes.md describes, delete the Deployment %s, and run this upgrade again." $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
