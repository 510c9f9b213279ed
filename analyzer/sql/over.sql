-- Point attributes that series of metric $2 have and none of metric $1 has.
SELECT DISTINCT key FROM (SELECT unnest(point_kv) AS kv_id FROM described WHERE number = $2) JOIN kv USING (kv_id)
WHERE key NOT IN (SELECT key FROM (SELECT unnest(point_kv) AS kv_id FROM described WHERE number = $1) JOIN kv USING (kv_id))
ORDER BY key
