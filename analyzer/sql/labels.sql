-- Per metric and label, for metrics with at least $5 series: distinct values, and distinct series left when the label is taken away.
WITH seen AS (
    SELECT DISTINCT series_id FROM points
    WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
), wide AS (
    SELECT metric, unit, kind FROM seen JOIN series USING (series_id) GROUP BY ALL HAVING count(*) >= $5
), flat AS (
    SELECT s.series_id, s.metric, s.unit, s.kind, place, kv_id, hash(place, kv_id)::HUGEINT AS h
    FROM (
        SELECT series_id, metric, unit, kind, 'resource' AS place, unnest(resource_kv) AS kv_id FROM series
        UNION ALL SELECT series_id, metric, unit, kind, 'point', unnest(point_kv) FROM series
    ) s JOIN seen USING (series_id) JOIN wide USING (metric, unit, kind)
), whole AS (
    -- The sum of its key-values' hashes stands for a series: taking one away is a subtraction, whatever the order.
    SELECT series_id, sum(h) AS total FROM flat GROUP BY series_id
)
SELECT metric, unit, kind, key AS label, place,
       count(DISTINCT value) AS distinct_values,
       count(DISTINCT total - h)
           + (SELECT count(*) FROM seen JOIN series s USING (series_id)
              WHERE s.metric = flat.metric AND s.unit = flat.unit AND s.kind = flat.kind) - count(DISTINCT series_id) AS series_without,
       list_sort(list(DISTINCT value))[1:3] AS examples
FROM flat JOIN whole USING (series_id) JOIN kv USING (kv_id)
GROUP BY metric, unit, kind, key, place
ORDER BY metric, unit, kind, distinct_values DESC, label
