{{/* Certificates and proxies with which pods reach servers outside the release. */}}

{{/* Environment. The names of both cases are set, because programs differ in which they read. */}}
{{- define "cifake-tune.env.network" -}}
{{- if include "cifake-tune.ca" . }}
{{- range list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "AWS_CA_BUNDLE" }}
- {name: {{ . }}, value: {{ printf "/etc/cifake-tune-ca/%s" $.Values.caBundle.key | quote }}}
{{- end }}
{{- end }}
{{- if or .Values.proxy.http .Values.proxy.https }}
{{- $direct := list "localhost" "127.0.0.1" (include "cifake-tune.chief.name" .) (include "cifake-tune.bucket.name" .) "$(KUBERNETES_SERVICE_HOST)" "kubernetes.default" ".svc" ".cluster.local" "169.254.169.254" "169.254.169.252" "169.254.170.23" "metadata.google.internal" }}
{{- with .Values.proxy.noProxy }}{{ $direct = append $direct . }}{{ end }}
{{- range $name, $value := dict "HTTP_PROXY" .Values.proxy.http "HTTPS_PROXY" .Values.proxy.https "NO_PROXY" (join "," $direct) }}
{{- if $value }}
- {name: {{ $name }}, value: {{ quote $value }}}
- {name: {{ lower $name }}, value: {{ quote $value }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" if the pods have a bundle of certificates, otherwise empty. */}}
{{- define "cifake-tune.ca" -}}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret }}true{{ end }}
{{- end }}

{{- define "cifake-tune.volumeMounts.ca" -}}
{{- if include "cifake-tune.ca" . }}
- {name: ca-bundle, mountPath: /etc/cifake-tune-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "cifake-tune.volumes.ca" -}}
{{- with .Values.caBundle.configMap }}
- {name: ca-bundle, configMap: {name: {{ . }}}}
{{- end }}
{{- with .Values.caBundle.secret }}
- {name: ca-bundle, secret: {secretName: {{ . }}, defaultMode: 0440}}
{{- end }}
{{- end }}
