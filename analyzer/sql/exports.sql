-- Per resource: its key-values, its series, and the exports that carried it: as many as the points of the series that sent most.
SELECT resource, any_value(resource_kv) AS resource_kv, count(*) AS series, max(points) AS exports
FROM described JOIN resources USING (resource) GROUP BY resource ORDER BY resource
