-- The gateways' own counters of items that did not reach the tap: whether any own telemetry was seen, and how many items were lost.
SELECT count(*) AS seen,
       coalesce(sum(increase) FILTER (
           (metric LIKE 'otelcol_exporter_send_failed_%' OR metric LIKE 'otelcol_exporter_enqueue_failed_%')
           AND EXISTS (FROM series_kv kv WHERE kv.series_id = series.series_id AND kv.key = 'exporter' AND kv.value LIKE 'otlp/tap%')
       ), 0) AS lost
FROM points JOIN series USING (series_id)
WHERE side = $1 AND bucket >= $2 AND bucket < $3 AND ($4 IS NULL OR gateway = $4)
