CREATE SEQUENCE bf_log_id_seq;
CREATE TABLE bf_log (
    id bigint NOT NULL DEFAULT nextval('bf_log_id_seq'), fall_id integer, aktion text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}', zeit timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (zeit);
ALTER SEQUENCE bf_log_id_seq OWNED BY bf_log.id;
CREATE TABLE bf_log_2024 PARTITION OF bf_log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE bf_log_2025 PARTITION OF bf_log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE bf_log_rest PARTITION OF bf_log DEFAULT;
CREATE INDEX bf_log_fall ON bf_log (fall_id);
