// What differs from one Prometheus to the next. Override it: (import 'mixin.libsonnet') { _config+:: { … } }
{
  _config:: {
    // Matchers of the resolvers' series, as in `scrape_configs` of prometheus.yml; '' for none.
    selector: 'job="blocklist-resolver"',
    // The same for the series of `doctor --watch`.
    doctorSelector: 'job="blocklist-doctor"',
    // The label that tells one cluster from another, such as 'cluster'; '' if one Prometheus has one cluster.
    clusterLabel: '',
    // Where deploy/monitoring.md can be read: every `runbook_url` and every panel's link begins with it.
    runbookBase: 'https://wiki.isp.example/blocklist-resolver',
  },
}
