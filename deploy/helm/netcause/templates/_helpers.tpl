{{/* Labels of every object. The first one is what the DaemonSet and `netcause why --kube` find the agents by. */}}
{{- define "netcause.labels" -}}
{{ toYaml (merge (dict "app.kubernetes.io/name" "netcause") .Values.labels) }}
{{- end }}

{{/* Annotations of the pods. */}}
{{- define "netcause.podAnnotations" -}}
{{- $port := include "netcause.port" . }}
{{- $scrape := dict "prometheus.io/scrape" "true" "prometheus.io/port" $port "prometheus.io/path" "/metrics" }}
{{- if eq .Values.scheme "HTTPS" }}
{{- $scrape = set $scrape "prometheus.io/scheme" "https" }}
{{- end }}
{{- if .Values.podMonitor.enabled }}
{{- $scrape = dict }}
{{- end }}
{{- /* The agent reads its settings when it starts. */}}
{{- $checksum := dict "checksum/config" (include "netcause.config" . | sha256sum) }}
{{- toYaml (merge $checksum .Values.podAnnotations $scrape) }}
{{- end }}

{{/* The port of the agent's HTTP server: the one of the setting `listen`. */}}
{{- define "netcause.port" -}}
{{ .Values.config.listen | default "0.0.0.0:9779" | regexFind "[0-9]+$" }}
{{- end }}

{{/* The image, with tag and digest. */}}
{{- define "netcause.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The agent's configuration file. */}}
{{- define "netcause.config" -}}
{{- $config := .Values.config }}
{{- if .Values.names }}
{{- $config = merge (dict "names_file" "/etc/netcause/names.yaml") $config }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Capabilities, each with its reason in deploy/README.md. */}}
{{- define "netcause.capabilities" -}}
- BPF
- PERFMON
- NET_ADMIN
{{- if .Values.oldKernels }}
- SYS_RESOURCE
{{- end }}
{{- end }}

{{/* SELinux options of the container; empty for those of the runtime. */}}
{{- define "netcause.seLinuxOptions" -}}
{{- if .Values.seLinuxOptions }}
{{- toYaml .Values.seLinuxOptions }}
{{- else if .Values.openshift }}
{{- "type: spc_t" }}
{{- end }}
{{- end }}
