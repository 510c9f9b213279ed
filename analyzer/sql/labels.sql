-- The series of metrics with at least $1 of them, in any order: their resource, scope and point attributes, and how many points each sent.
SELECT number, resource, dense_rank() OVER (ORDER BY "scope") - 1 AS "scope", point_kv, points
FROM described
WHERE number IN (SELECT number FROM described GROUP BY number HAVING count(*) >= $1)
