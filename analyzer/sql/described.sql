-- Series seen, with the numbers of their metric and resource.
CREATE OR REPLACE TEMP TABLE described AS
SELECT number, series_id, resource, "scope", service, prom_series, point_kv, points, bytes, first_time, last_time
FROM known JOIN seen USING (series_id) JOIN names USING (metric, unit, kind, temporality, monotonic) JOIN resources USING (resource_kv)
