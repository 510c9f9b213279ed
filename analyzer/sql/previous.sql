-- Per metric: the same of the window before; a metric that sent nothing then has no row.
SELECT number, count(*) AS series, sum(prom_series) AS prom_series, sum(points) AS points, sum(bytes) AS bytes, sum(points * prom_series) AS samples
FROM before JOIN known USING (series_id) JOIN names USING (metric, unit, kind, temporality, monotonic)
GROUP BY number
