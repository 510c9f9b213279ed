-- Resources of the series seen, numbered from 0.
CREATE OR REPLACE TEMP TABLE resources AS
SELECT row_number() OVER (ORDER BY resource_kv) - 1 AS resource, resource_kv
FROM (SELECT DISTINCT resource_kv FROM known SEMI JOIN seen USING (series_id))
