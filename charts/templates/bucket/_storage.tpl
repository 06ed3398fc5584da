{{/* "true" if the release's own bucket has a volume that outlives its pod, otherwise empty. */}}
{{- define "cifake-tune.bucket.persistent" -}}
{{- $class := .Values.bucket.emulator.storageClass }}
{{- if eq $class "-" }}
{{- else if $class -}}
true
{{- else if lookup "v1" "PersistentVolumeClaim" .Release.Namespace (include "cifake-tune.bucket.name" .) -}}
true
{{- else }}
{{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items }}
{{- if eq (index (.metadata.annotations | default dict) "storageclass.kubernetes.io/is-default-class" | default "") "true" -}}
true
{{- break }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
