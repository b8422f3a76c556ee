{{- /* What several templates say in the same words. */ -}}

{{- define "blocklist.labels" -}}
app.kubernetes.io/name: blocklist-resolver
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "blocklist.selector" -}}
app.kubernetes.io/name: blocklist-resolver
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "blocklist.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* The account of the image, by number; blocklist is the group of the control socket, blocklist-edge that of the socket
to which edges connect. */ -}}
{{- define "blocklist.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10053
runAsGroup: 10053
fsGroup: 10053
fsGroupChangePolicy: OnRootMismatch
{{- if .edge }}
# The service gives its socket to the edge's group, and has to be in it for that.
supplementalGroups: [10054, 10056]
{{- else }}
supplementalGroups: [10054]
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "blocklist.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
  {{- if .bind }}
  add: [NET_BIND_SERVICE]
  {{- end }}
{{- end }}

{{- /* Volumes and mounts of a pod with a list: configuration, keys, approvers, what sources need, folders to write. */ -}}
{{- define "blocklist.mounts" -}}
- {name: configuration, mountPath: /etc/blocklist-resolver, readOnly: true}
- {name: keys, mountPath: /etc/blocklist-keys, readOnly: true}
{{- if .Values.secrets.approvers }}
- {name: approvers, mountPath: /etc/blocklist-approvers, readOnly: true}
{{- end }}
{{- if .Values.secrets.sources }}
- {name: sources, mountPath: /etc/blocklist-sources, readOnly: true}
{{- end }}
- {name: state, mountPath: /var/lib/blocklist-resolver}
- {name: run, mountPath: /run/blocklist-resolver}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "blocklist.volumes" -}}
- name: configuration
  configMap:
    name: {{ .name }}
- name: keys
  secret:
    secretName: {{ .root.Values.secrets.keys }}
    defaultMode: 0440
{{- with .root.Values.secrets.approvers }}
- name: approvers
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .root.Values.secrets.sources }}
- name: sources
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
- name: run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- end }}

{{- /* resolver.toml and the files beside it. */ -}}
{{- define "blocklist.configuration" -}}
data:
  resolver.toml: |
    {{- tpl (required (printf "%s.configuration: the text of resolver.toml" .part) .values.configuration) .root | nindent 4 }}
    {{- if eq .part "resolver" }}
    {{- include "blocklist.cookies" .root | nindent 4 }}
    {{- include "blocklist.edge" .root | nindent 4 }}
    {{- end }}
  {{- range $name, $text := .values.files }}
  {{ $name }}: |
    {{- $text | nindent 4 }}
  {{- end }}
{{- end }}

{{- /* [cookies] of the resolvers' configuration. */ -}}
{{- define "blocklist.cookies" -}}
{{- if .Values.secrets.cookies -}}
{{- if regexMatch "(?m)^\\s*\\[cookies\\]" .Values.resolver.configuration -}}
{{- fail "resolver.configuration: leave [cookies] out: secrets.cookies is set, and the chart adds it" -}}
{{- end -}}
[cookies]
secrets = "/etc/blocklist-cookies/cookie-secrets"
{{- end -}}
{{- end }}

{{- /* [edge] of the resolvers' configuration: what the edges' container and volumes are made for. */ -}}
{{- define "blocklist.edge" -}}
{{- if .Values.edge.enabled -}}
{{- if regexMatch "(?m)^\\s*\\[edge\\]" .Values.resolver.configuration -}}
{{- fail "resolver.configuration: leave [edge] out: edge.enabled is true, and the chart adds it" -}}
{{- end -}}
[edge]
socket = "/run/blocklist-resolver-edge/queries"
name = {{ required "edge.name: the name that clients verify in the certificate" .Values.edge.name | quote }}
{{- range $key, $port := .Values.edge.ports }}
{{- if $port }}
{{- $at := list }}
{{- range $.Values.edge.listen }}
{{- $at = append $at (printf (ternary "[%s]:%d" "%s:%d" (contains ":" .)) . (int $port)) }}
{{- end }}
{{ $key }} = {{ $at | toJson }}
{{- end }}
{{- end }}
path = {{ .Values.edge.path | quote }}
certificate = "/etc/blocklist-edge/tls.crt"
key = "/etc/blocklist-edge/tls.key"
{{- end -}}
{{- end }}

{{- /* Ports of the edge's container that are in use: name, number, protocol. */ -}}
{{- define "blocklist.edgePorts" -}}
{{- $protocols := dict "tls" (list "dot" "TCP") "https" (list "doh" "TCP") "quic" (list "doq" "UDP") "http3" (list "doh3" "UDP") -}}
{{- range $key, $port := .Values.edge.ports }}
{{- if $port }}
{{- $of := get $protocols $key }}
- {name: {{ index $of 0 }}, containerPort: {{ $port }}, protocol: {{ index $of 1 }}}
{{- end }}
{{- end }}
{{- end }}
