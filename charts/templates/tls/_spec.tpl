{{/* The Job that creates the Secret with the certificates, unless the Secret exists. The chart itself does not create it,
     because a rendering cannot see the previous one, and each would contain other certificates. */}}
{{- define "cifake-tune.tls.spec" -}}
backoffLimit: 6
template:
  metadata:
    {{- include "cifake-tune.pod.metadata.alone" (list . "tls") | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "cifake-tune.pod.place" (list . .Values.chief) | nindent 4 }}
    serviceAccountName: {{ include "cifake-tune.tls.account" . }}
    automountServiceAccountToken: true
    containers:
      - name: tls
        {{- include "cifake-tune.container.image" . | nindent 8 }}
        {{- with .Values.extraEnvFrom }}
        envFrom:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        command: [python, -m, k8s.certificates, {{ include "cifake-tune.tls.name" . }}, {{ include "cifake-tune.chief.name" . }}]
        {{- with .Values.extraEnv }}
        env:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        resources:
          requests: {cpu: 100m, memory: 128Mi}
          limits: {memory: 512Mi}
        volumeMounts:
          - {name: scratch, mountPath: /scratch}
    volumes:
      {{- include "cifake-tune.volumes.scratch" . | nindent 6 }}
{{- end }}

{{/* Name of the Job's service account, Role and RoleBinding. */}}
{{- define "cifake-tune.tls.account" -}}
{{ include "cifake-tune.fullname" . }}-tls
{{- end }}

{{/* "true" if the chart has certificates made, otherwise empty. */}}
{{- define "cifake-tune.tls.own" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}true{{ end }}
{{- end }}
