-- Per metric: series and points. An explicit histogram's point is n + 3 prom_series for n bounds.
SELECT number, metric, unit, kind, temporality, monotonic,
       count(*) AS series, sum(prom_series) AS prom_series, sum(points) AS points, sum(bytes) AS bytes, sum(points * prom_series) AS samples,
       list_sort(list(DISTINCT service) FILTER (service <> '')) AS services,
       CASE WHEN kind = 'histogram' AND min(prom_series) = max(prom_series) AND min(prom_series) >= 3 THEN min(prom_series) - 3 END AS buckets
FROM described JOIN names USING (number)
GROUP BY number, metric, unit, kind, temporality, monotonic
ORDER BY number
