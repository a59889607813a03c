-- Sample data for exam.sql: 5 users, 30 exams (24 of them open now), 150 questions, 20 results. Rows that exist are left as they are.

BEGIN;

INSERT INTO users (id, name, email)
SELECT ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid,
       (ARRAY['Ada', 'Grace', 'Edsger', 'Barbara', 'Zoë "Z" 🎓'])[i],
       'user' || i || '@example.org'
FROM generate_series(1, 5) AS i
ON CONFLICT DO NOTHING;

-- Every fifth exam is a draft or closed; the others have opened a while ago and stay open for a year.
INSERT INTO exam (id, title, subject, status, settings, opens_at, closes_at)
SELECT i,
       'Exam ' || i,
       (ARRAY['math', 'biology', 'history'])[1 + i % 3],
       (CASE WHEN i % 10 = 0 THEN 'CLOSED' WHEN i % 5 = 0 THEN 'DRAFT' ELSE 'OPEN' END)::exam_status,
       CASE WHEN i % 4 <> 0 THEN jsonb_build_object('minutes', 30 + i, 'shuffle', i % 2 = 0) END,
       date_trunc('day', now()) - i * interval '1 hour',
       date_trunc('day', now()) + interval '1 year'
FROM generate_series(1, 30) AS i
ON CONFLICT DO NOTHING;

-- Questions (i - 1) * 5 + 1 … i * 5 belong to exam i.
INSERT INTO question (id, exam_id, position, body, options, points, answer)
SELECT (i - 1) * 5 + k, i, k, 'What is ' || i || ' + ' || k || '?',
       jsonb_build_array((i + k - 1)::text, (i + k)::text, (i + k + 1)::text), k, (i + k)::text
FROM generate_series(1, 30) AS i, generate_series(1, 5) AS k
ON CONFLICT (id) DO NOTHING;

-- User u has taken the exams 1 to 4 and answered their first u questions, all of them rightly.
INSERT INTO result (id, user_id, exam_id, score)
SELECT (u - 1) * 4 + e, ('00000000-0000-4000-8000-' || lpad(u::text, 12, '0'))::uuid, e, u * (u + 1) / 2
FROM generate_series(1, 5) AS u, generate_series(1, 4) AS e
ON CONFLICT DO NOTHING;

INSERT INTO answer (result_id, question_id, value)
SELECT (u - 1) * 4 + e, (e - 1) * 5 + k, (e + k)::text
FROM generate_series(1, 5) AS u, generate_series(1, 4) AS e, generate_series(1, 5) AS k
WHERE k <= u
ON CONFLICT DO NOTHING;

SELECT setval('exam_id_seq', greatest((SELECT max(id) FROM exam), (SELECT last_value FROM exam_id_seq))),
       setval('question_id_seq', greatest((SELECT max(id) FROM question), (SELECT last_value FROM question_id_seq))),
       setval('result_id_seq', greatest((SELECT max(id) FROM result), (SELECT last_value FROM result_id_seq)));

COMMIT;
ANALYZE users, exam, question, result, answer;
