-- Sample data for salon.sql: 2 salons with 30 bookings, 10 messages and 12 invoices each. Rows that exist are left as they are.
-- Ids end in the row's number and begin with what they are: 5a100000 a salon, c0500000 a customer, b0000000 a booking, 1a000000 an invoice.

BEGIN;

-- Bookings 1 to 10 of a salon are today's, every third of them is done.
INSERT INTO booking (id, salon_id, customer_id, status, starts_at, price, notes)
SELECT ('b0000000-0000-4000-8000-' || lpad(((s - 1) * 30 + i)::text, 12, '0'))::uuid,
       ('5a100000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid,
       ('c0500000-0000-4000-8000-' || lpad((1 + i % 7)::text, 12, '0'))::uuid,
       (CASE WHEN i % 3 = 0 THEN 'DONE' WHEN i % 7 = 0 THEN 'CANCELLED' WHEN i % 2 = 0 THEN 'CONFIRMED' ELSE 'NEW' END)::booking_status,
       date_trunc('day', now()) + (i - 1) / 10 * interval '1 day' + (9 + i % 10) * interval '1 hour',
       20 + i * 1.5,
       CASE WHEN i % 5 = 0 THEN jsonb_build_object('wish', 'a seat by the window 🪟') END
FROM generate_series(1, 2) AS s, generate_series(1, 30) AS i
ON CONFLICT DO NOTHING;

INSERT INTO message (id, salon_id, body, read, sent_at)
SELECT (s - 1) * 10 + i, ('5a100000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid,
       'Message ' || i, i % 3 = 0, date_trunc('day', now()) - i * interval '1 hour'
FROM generate_series(1, 2) AS s, generate_series(1, 10) AS i
ON CONFLICT DO NOTHING;

INSERT INTO invoice (id, tenant_id, customer_id, amount, status, number, created)
SELECT ('1a000000-0000-4000-8000-' || lpad(((s - 1) * 12 + i)::text, 12, '0'))::uuid,
       ('5a100000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid,
       ('c0500000-0000-4000-8000-' || lpad((1 + i % 7)::text, 12, '0'))::uuid,
       100 * i + 0.25, (ARRAY['DRAFT', 'SENT', 'PAID', 'VOID'])[1 + i % 4]::invoice_status, i,
       timestamptz '2025-01-15 12:00:00+00' + (i - 1) * interval '1 month'
FROM generate_series(1, 2) AS s, generate_series(1, 12) AS i
ON CONFLICT DO NOTHING;

INSERT INTO invoice_line (invoice_id, position, item, amount)
SELECT id, k, (ARRAY['cut', 'colour'])[k], CASE k WHEN 1 THEN amount - 50 ELSE 50 END
FROM invoice, generate_series(1, 2) AS k
WHERE id::text LIKE '1a000000-%'
ON CONFLICT DO NOTHING;

INSERT INTO counter (tenant_id, last)
SELECT tenant_id, max(number) FROM invoice WHERE id::text LIKE '1a000000-%' GROUP BY tenant_id
ON CONFLICT DO NOTHING;

SELECT setval('message_id_seq', greatest((SELECT max(id) FROM message), (SELECT last_value FROM message_id_seq)));

COMMIT;
ANALYZE booking, message, counter, invoice, invoice_line;
