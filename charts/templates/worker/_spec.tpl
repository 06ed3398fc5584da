{{/* The immutable part of the workers' Job, which is everything except the number of workers. */}}
{{- define "cifake-tune.worker.spec" -}}
completionMode: Indexed
{{- /* A backoffLimit would delay and limit all workers together. With one per index, a namespace is deleted only after
       the Job (docs/kubernetes.md). */}}
backoffLimitPerIndex: {{ .Values.workers.backoffLimitPerIndex }}
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: FailJob  # invalid settings: a retry would not help
      onExitCodes: {containerName: worker, operator: In, values: [2]}
    - action: Ignore  # preempted, evicted, drained, lost
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    - action: Ignore  # stopped for another reason, after handing back its trial
      onExitCodes: {containerName: worker, operator: In, values: [143]}
template:
  metadata:
    {{- include "cifake-tune.pod.metadata" (list . "worker") | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "cifake-tune.pod.place" (list . .Values.workers) | nindent 4 }}
    serviceAccountName: {{ include "cifake-tune.serviceAccount" . }}
    automountServiceAccountToken: false
    terminationGracePeriodSeconds: {{ .Values.workers.terminationGracePeriodSeconds }}
    {{- with .Values.workers.topologySpreadConstraints }}
    topologySpreadConstraints:
      {{- range . }}
      {{- $selector := dict "matchLabels" (merge (dict "app.kubernetes.io/component" "worker") (include "cifake-tune.selectorLabels" $ | fromYaml)) }}
      - {{- merge (dict) . (dict "labelSelector" $selector) | toYaml | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- include "cifake-tune.initContainers" (list . .Values.workers 4) }}
    containers:
      - name: worker
        {{- include "cifake-tune.container" . | nindent 8 }}
        args: [worker]
        env:
          - name: WORKER_INDEX
            valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-completion-index']"}}
          - {name: KERASTUNER_TUNER_ID, value: worker-$(WORKER_INDEX)}
          - {name: KERASTUNER_ORACLE_IP, value: {{ include "cifake-tune.chief.name" . }}}
          - {name: KERASTUNER_ORACLE_PORT, value: {{ .Values.chief.port | quote }}}
          - {name: CIFAKE_TUNE_CACHE, value: /cache}
          - {name: CIFAKE_TUNE_GPUS, value: {{ .Values.workers.gpus | default (len .Values.workers.resourceClaims) | quote }}}
          {{- if ne .Values.workers.gpuResource "nvidia.com/gpu" }}
          - {name: CIFAKE_TUNE_GPU_RESOURCE, value: {{ .Values.workers.gpuResource | quote }}}
          {{- end }}
          {{- with include "cifake-tune.worker.processes" . }}
          - {name: CIFAKE_TUNE_PROCESSES, value: {{ . | quote }}}
          {{- end }}
          - {name: CIFAKE_TUNE_REQUIRE_GPU, value: {{ .Values.workers.requireGPU | quote }}}
          {{- include "cifake-tune.env.release" . | nindent 10 }}
          - name: CIFAKE_TUNE_POD
            valueFrom: {fieldRef: {fieldPath: metadata.name}}
          {{- include "cifake-tune.env.http" . | nindent 10 }}
          {{- include "cifake-tune.env" . | nindent 10 }}
          {{- include "cifake-tune.env.tls" . | nindent 10 }}
          {{- with .Values.workers.env }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        ports:
          - {name: http, containerPort: {{ .Values.metrics.port }}}
        {{- include "cifake-tune.probes" . | nindent 8 }}
        readinessProbe:
          httpGet: {path: /readyz, port: http}
          periodSeconds: 10
          timeoutSeconds: 6
        {{- include "cifake-tune.resources" .Values.workers | nindent 8 }}
        volumeMounts:
          - {name: cache, mountPath: /cache}
          {{- if .Values.workers.sharedMemory }}
          - {name: shared-memory, mountPath: /dev/shm}
          {{- end }}
          {{- include "cifake-tune.volumeMounts" . | nindent 10 }}
          {{- include "cifake-tune.volumeMounts.tls" . | nindent 10 }}
    volumes:
      - name: cache
        {{- .Values.workers.cache | default (dict "emptyDir" dict) | toYaml | nindent 8 }}
      {{- with .Values.workers.sharedMemory }}
      - {name: shared-memory, emptyDir: {medium: Memory, sizeLimit: {{ . }}}}
      {{- end }}
      {{- include "cifake-tune.volumes" . | nindent 6 }}
      {{- include "cifake-tune.volumes.tls" . | nindent 6 }}
{{- end }}

{{/* Number of processes of a worker's pod, or "auto"; empty for a single one, which needs no supervisor. */}}
{{- define "cifake-tune.worker.processes" -}}
{{- $gpus := int .Values.workers.gpus | default (len .Values.workers.resourceClaims) }}
{{- if eq (toString .Values.workers.perGPU) "auto" }}auto
{{- else if gt (int .Values.workers.perGPU) 1 }}{{ mul (int .Values.workers.perGPU) $gpus }}
{{- else if gt (int .Values.workers.perPod) 1 }}{{ .Values.workers.perPod }}
{{- end }}
{{- end }}
