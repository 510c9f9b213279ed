-- Per metric: who sends how much of it; the $1 largest. A namespace is Kubernetes' own, else the service's.
WITH spaces AS (
    SELECT resource, coalesce(any_value(value) FILTER (key = 'k8s.namespace.name'), any_value(value) FILTER (key = 'service.namespace')) AS namespace
    FROM (SELECT resource, unnest(resource_kv) AS kv_id FROM resources) JOIN kv USING (kv_id)
    WHERE key IN ('k8s.namespace.name', 'service.namespace') GROUP BY resource
)
SELECT number, service, "scope", coalesce(namespace, '') AS namespace,
       count(*) AS series, sum(prom_series) AS prom_series, sum(points) AS points, sum(bytes) AS bytes, sum(points * prom_series) AS samples
FROM described LEFT JOIN spaces USING (resource)
GROUP BY number, service, "scope", coalesce(namespace, '')
QUALIFY row_number() OVER (PARTITION BY number ORDER BY count(*) DESC, service, "scope", coalesce(namespace, '')) <= $1
ORDER BY number, series DESC, service, "scope", 4
