// The alerts, the recording rules and the dashboards of deploy/, with a selector, a cluster label and the runbook's place.
//
// Rules:
// - Nothing is said twice: alerts.yml, rules.yml and the dashboards' files are read, and only what is configured is added.
// - Each series of a resolver gets the selector. Recorded series do not: what they are made of has it.
// - The cluster label goes wherever series are grouped or joined by instance. Figures by region are sums of all clusters.
(import 'config.libsonnet') {
  local config = self._config,
  local prefix = 'blocklist_resolver_',
  local doctor = 'blocklist_doctor_',
  local scraped = 'up{job="blocklist-resolver"}',

  // The evaluator is slow at slices and at std.member: this reads characters, and cuts with std.substr.
  local length(text, from=0) =
    if from == std.length(text) then from else
      local one = text[from];
      if one >= 'a' && one <= 'z' || one >= '0' && one <= '9' || one == '_' || one == ':'
      then length(text, from + 1) tailstrict
      else from,

  // Adds matchers to each series of a resolver in an expression, or of those that begin otherwise.
  local matched(expression, matchers, begins=prefix) =
    if matchers == '' then expression else
      local parts = std.split(expression, begins);
      local added(number) =
        local part = parts[number];
        local end = length(part);
        local rest = std.substr(part, end, std.length(part));
        std.substr(part, 0, end) + (
          if std.endsWith(parts[number - 1], ':') then rest
          else if std.startsWith(rest, '{') then '{' + matchers + ',' + std.substr(rest, 1, std.length(rest))
          else '{' + matchers + '}' + rest
        );
      std.join(begins, [if number == 0 then parts[0] else added(number) for number in std.range(0, std.length(parts) - 1)]),

  local grouped(expression) =
    if config.clusterLabel == '' then expression
    else std.foldl(
      function(text, word)
        std.strReplace(text, word + ' (instance', word + ' (' + config.clusterLabel + ', instance'),
      ['by', 'on'],
      expression
    ),

  local of_rule(expression) = grouped(matched(matched(
    if config.selector == '' then expression
    else std.strReplace(expression, scraped, 'up{' + config.selector + '}'),
    config.selector
  ), config.doctorSelector, doctor)),

  local chosen = if config.clusterLabel == '' then '' else '%s=~"$%s"' % [config.clusterLabel, config.clusterLabel],
  local of_panel(expression) = grouped(matched(
    if chosen == '' then expression else std.strReplace(expression, 'ALERTS{', 'ALERTS{' + chosen + ','),
    std.join(',', std.filter(function(one) one != '', [config.selector, chosen]))
  )),

  local rules(file) = {
    groups: [
      group { rules: [
        rule { expr: of_rule(rule.expr) } + (
          if std.objectHas(rule, 'alert') then { annotations+: {
            runbook_url: std.strReplace(
              rule.annotations.runbook_url, '{{ $externalLabels.blocklist_runbooks }}', config.runbookBase
            ),
          } } else {}
        )
        for rule in group.rules
      ] }
      for group in std.parseYaml(file).groups
    ],
  },

  local variable(one) =
    if one.type == 'query' then one { query: of_panel(one.query) }
    else if one.type == 'constant' then one { query: config.runbookBase }
    else one,

  local clusters(instance) =
    if config.clusterLabel == '' then []
    else [instance {
      name: config.clusterLabel,
      label: 'Cluster',
      query: 'label_values(%s, %s)' % [matched(prefix + 'build_info', config.selector), config.clusterLabel],
    }],

  local dashboard(board) = board {
    annotations: { list: [
      if std.objectHas(one, 'expr') then one { expr: of_panel(one.expr) } else one
      for one in board.annotations.list
    ] },
    panels: [
      if std.objectHas(panel, 'targets')
      then panel { targets: [target { expr: of_panel(target.expr) } for target in panel.targets] }
      else panel
      for panel in board.panels
    ],
    templating: { list: std.flatMap(
      function(one) (if one.name == 'instance' then clusters(one) else []) + [variable(one)],
      board.templating.list
    ) },
  },

  prometheusAlerts+:: rules(importstr '../prometheus/alerts.yml'),
  prometheusRules+:: rules(importstr '../prometheus/rules.yml'),
  grafanaDashboards+:: {
    'overview.json': dashboard(import '../grafana/dashboards/overview.json'),
    'blocking.json': dashboard(import '../grafana/dashboards/blocking.json'),
    'lists.json': dashboard(import '../grafana/dashboards/lists.json'),
    'service.json': dashboard(import '../grafana/dashboards/service.json'),
  },
}
