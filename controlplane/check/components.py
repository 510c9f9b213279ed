"""The allow-list: every field of every component that a configuration may have. What reads files, runs discovery, writes to the disk or turns
verification off has no row, so it is refused.

Names are those of the components' own `mapstructure` tags at 0.149.0; older versions have fewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.check.fields import ADDRESS, ENV, NOT_TRUE, VALUE, Either, Keyed, Many, Spec, word

Fields = Mapping[str, Any]


def _values(*names: str) -> Fields:
    return dict.fromkeys(names, VALUE)


# --- shared by components ------------------------------------------------------------------------------------------------------------

_SERVER_TLS: Fields = {
    **_values("include_system_ca_certs_pool", "min_version", "max_version", "reload_interval"),
    "ca_pem": ENV, "cert_pem": ENV, "key_pem": ENV, "cipher_suites": Many(VALUE), "curve_preferences": Many(VALUE),
}  # fmt: skip
_TLS: Fields = {**_SERVER_TLS, **_values("insecure", "server_name_override"), "insecure_skip_verify": NOT_TRUE}
_AUTH: Fields = _values("authenticator")
_HEADERS: Spec = Either(Many(_values("name", "value")), Keyed(VALUE))
_RETRY = _values("enabled", "initial_interval", "randomization_factor", "multiplier", "max_interval", "max_elapsed_time")
_BATCH = {**_values("flush_timeout", "sizer", "min_size", "max_size"), "partition": {"metadata_keys": Many(VALUE)}}
_QUEUE: Fields = {
    **_values("enabled", "num_consumers", "queue_size", "sizer", "block_on_overflow", "wait_for_result", "storage"),
    "batch": {**_BATCH, "enabled": VALUE},
}
_SENDING: Fields = {"sending_queue": _QUEUE, "retry_on_failure": _RETRY, "timeout": VALUE}
_GRPC_CLIENT: Fields = {
    "endpoint": ADDRESS, "tls": _TLS, "headers": _HEADERS, "auth": _AUTH, "keepalive": _values("time", "timeout", "permit_without_stream"),
    **_values("compression", "read_buffer_size", "write_buffer_size", "wait_for_ready", "balancer_name", "authority"),
}  # fmt: skip
_HTTP_CLIENT: Fields = {
    "endpoint": ADDRESS, "tls": _TLS, "headers": _HEADERS, "auth": _AUTH, "compression_params": _values("level"), "cookies": _values("enabled"),
    **_values(
        "timeout", "compression", "read_buffer_size", "write_buffer_size", "max_idle_conns", "max_idle_conns_per_host", "max_conns_per_host",
        "idle_conn_timeout", "disable_keep_alives", "http2_read_idle_timeout", "http2_ping_timeout", "force_attempt_http2",
    ),
}  # fmt: skip
_GRPC_SERVER: Fields = {
    "endpoint": ADDRESS, "transport": word("tcp", "tcp4", "tcp6"), "tls": _SERVER_TLS, "auth": _AUTH,
    "keepalive": {
        "server_parameters": _values("max_connection_idle", "max_connection_age", "max_connection_age_grace", "time", "timeout"),
        "enforcement_policy": _values("min_time", "permit_without_stream"),
    },
    **_values("max_recv_msg_size_mib", "max_concurrent_streams", "read_buffer_size", "write_buffer_size", "include_metadata"),
}  # fmt: skip
_HTTP_SERVER: Fields = {
    "endpoint": ADDRESS, "transport": word("tcp", "tcp4", "tcp6"), "tls": _SERVER_TLS, "auth": _AUTH, "response_headers": _HEADERS, "compression_algorithms": Many(VALUE),
    "cors": {"allowed_origins": Many(VALUE), "allowed_headers": Many(VALUE), "max_age": VALUE},
    **_values("max_request_body_size", "include_metadata", "read_timeout", "read_header_timeout", "write_timeout", "idle_timeout", "keep_alives_enabled"),
}  # fmt: skip

# --- receivers -----------------------------------------------------------------------------------------------------------------------

_OTLP_RECEIVER: Fields = {
    "protocols": {"grpc": _GRPC_SERVER, "http": {**_HTTP_SERVER, **_values("traces_url_path", "metrics_url_path", "logs_url_path")}}
}
_RELABEL = {"source_labels": Many(VALUE), **_values("separator", "target_label", "regex", "modulus", "replacement", "action")}
_SCRAPE: Fields = {
    "static_configs": Many({"targets": Many(ADDRESS), "labels": Keyed(VALUE)}), "relabel_configs": Many(_RELABEL), "metric_relabel_configs": Many(_RELABEL),
    "params": Keyed(Many(VALUE)), "scrape_protocols": Many(VALUE), "scheme": word("http", "https"),
    "basic_auth": {"username": VALUE, "password": ENV}, "authorization": {"type": VALUE, "credentials": ENV},
    "tls_config": {"ca": ENV, "cert": ENV, "key": ENV, "insecure_skip_verify": NOT_TRUE, **_values("server_name", "min_version", "max_version")},
    **_values(
        "job_name", "scrape_interval", "scrape_timeout", "metrics_path", "honor_labels", "honor_timestamps", "track_timestamps_staleness",
        "sample_limit", "target_limit", "label_limit", "label_name_length_limit", "label_value_length_limit", "body_size_limit", "keep_dropped_targets",
        "follow_redirects", "enable_http2", "enable_compression", "fallback_scrape_protocol", "native_histogram_bucket_limit",
        "native_histogram_min_bucket_factor", "scrape_native_histograms", "scrape_classic_histograms", "always_scrape_classic_histograms",
        "convert_classic_histograms_to_nhcb", "metric_name_validation_scheme", "metric_name_escaping_scheme",
    ),
}  # fmt: skip
_PROMETHEUS: Fields = {
    "config": {
        "global": {**_values("scrape_interval", "scrape_timeout", "evaluation_interval"), "external_labels": Keyed(VALUE), "scrape_protocols": Many(VALUE)},
        "scrape_configs": Many(_SCRAPE),
    },
    "trim_metric_suffixes": VALUE,
}  # fmt: skip


def _picked(*kinds: str) -> Fields:
    """`include` and `exclude` of a scraper, by what they list."""
    return {
        f"{verb}{suffix}": {"match_type": VALUE, what: Many(VALUE), "regexp": _REGEXP}
        for verb in ("include", "exclude")
        for suffix, what in (k.split(":") for k in kinds)
    }


_REGEXP = _values("cacheenabled", "cachemaxnumentries")
_METRICS: Fields = {"metrics": Keyed({"enabled": VALUE, "attributes": Many(VALUE), "aggregation_strategy": VALUE})}
_SCRAPERS: Fields = {
    **dict.fromkeys(("cpu", "memory", "nfs", "paging", "processes", "system"), _METRICS),
    "load": {**_METRICS, "cpu_average": VALUE},
    "disk": {**_METRICS, **_picked(":devices")},
    "network": {**_METRICS, **_picked(":interfaces")},
    "filesystem": {
        **_METRICS, **_picked("_devices:devices", "_mount_points:mount_points", "_fs_types:fs_types"), "include_virtual_filesystems": VALUE,
    },
    "process": {
        **_METRICS, **_picked(":names"), "resource_attributes": Keyed({"enabled": VALUE}),
        **_values(
            "mute_process_all_errors", "mute_process_name_error", "mute_process_exe_error", "mute_process_io_error", "mute_process_user_error",
            "mute_process_cgroup_error", "scrape_process_delay",
        ),
    },
}  # fmt: skip
_HOSTMETRICS: Fields = {
    "root_path": ENV, "scrapers": _SCRAPERS, **_values("collection_interval", "initial_delay", "timeout", "metadata_collection_interval"),
}  # fmt: skip
_OPERATOR: Fields = {
    "type": word(
        "regex_parser", "json_parser", "csv_parser", "key_value_parser", "severity_parser", "time_parser", "trace_parser", "uri_parser", "scope_name_parser",
        "syslog_parser", "container", "add", "copy", "move", "remove", "retain", "flatten", "filter", "recombine", "router", "noop", "regex_replace", "unquote",
    ),
    "timestamp": _values("parse_from", "layout", "layout_type", "location", "preserve_to"),
    "severity": {"parse_from": VALUE, "preset": VALUE, "overwrite_text": VALUE, "mapping": Keyed(Either(Many(VALUE), VALUE))},
    "routes": Many({"expr": VALUE, "output": Either(Many(VALUE), VALUE)}), "fields": Many(VALUE), "output": Either(Many(VALUE), VALUE),
    **_values(
        "id", "parse_from", "parse_to", "regex", "if", "on_error", "field", "value", "from", "to", "expr", "drop_ratio", "delimiter", "header", "headers",
        "header_attribute", "lazy_quotes", "ignore_quotes", "pair_delimiter", "layout", "layout_type", "location", "preset", "protocol", "format",
        "combine_field", "combine_with", "is_first_entry", "is_last_entry", "max_batch_size", "force_flush_period", "source_identifier", "overwrite_with",
        "max_log_size", "default", "replace_with", "regex_name", "add_metadata_from_filepath",
    ),
}  # fmt: skip
_FILELOG: Fields = {
    "include": Many(ENV), "exclude": Many(ENV), "operators": Many(_OPERATOR), "attributes": Keyed(VALUE), "resource": Keyed(VALUE),
    "multiline": _values("line_start_pattern", "line_end_pattern", "omit_pattern"),
    "retry_on_failure": _values("enabled", "initial_interval", "max_interval", "max_elapsed_time"),
    **_values(
        "start_at", "poll_interval", "encoding", "include_file_name", "include_file_path", "include_file_name_resolved", "include_file_path_resolved",
        "max_log_size", "fingerprint_size", "max_concurrent_files", "max_batches", "force_flush_period", "preserve_leading_whitespaces",
        "preserve_trailing_whitespaces", "storage", "exclude_older_than", "include_file_record_number", "compression",
    ),
}  # fmt: skip

# --- processors ------------------------------------------------------------------------------------------------------------------------

_CONDITIONS: Spec = Many(Either(Keyed(Either(Many(VALUE), VALUE)), VALUE))
"""Flat, or by context: what stands in a context is `context`, `conditions`, `statements`, `error_mode`; the binary judges it."""
_STATEMENTS: Spec = Many(
    Either({"context": VALUE, "error_mode": word("ignore"), "conditions": Many(VALUE), "statements": Many(VALUE)}, VALUE)
)


def _matched(values: tuple[str, ...], pairs: tuple[str, ...], more: Fields) -> Fields:
    """The older way to pick items: lists of values, lists of attributes."""
    one = {"match_type": VALUE, **dict.fromkeys(values, Many(VALUE)), **dict.fromkeys(pairs, Many(_values("key", "value"))), **more}
    return {"include": one, "exclude": one}


_OLD_METRICS = _matched(("metric_names", "expressions"), ("resource_attributes",), {"regexp": _REGEXP})
_OLD_LOGS = _matched(
    ("bodies", "severity_texts"), ("resource_attributes", "record_attributes"), {"severity_number": _values("min", "match_undefined")}
)
_OLD_ITEMS = _matched(
    ("services", "span_names", "span_kinds", "metric_names", "log_bodies", "log_severity_texts"),
    ("attributes", "resources"),
    {"regexp": _REGEXP},
)
_FILTER: Fields = {
    "error_mode": VALUE,
    "metrics": {"metric": Many(VALUE), "datapoint": Many(VALUE), "resource": Many(VALUE), **_OLD_METRICS},
    "logs": {"log_record": Many(VALUE), "resource": Many(VALUE), **_OLD_LOGS},
    "traces": {"span": Many(VALUE), "spanevent": Many(VALUE), "resource": Many(VALUE)},
    "spans": _OLD_ITEMS,
    **dict.fromkeys(("metric_conditions", "log_conditions", "trace_conditions"), _CONDITIONS),
}
_TRANSFORM: Fields = {
    "error_mode": VALUE, "flatten_data": VALUE, **dict.fromkeys(("metric_statements", "log_statements", "trace_statements"), _STATEMENTS)
}  # fmt: skip
_ATTRIBUTE_ACTIONS: Spec = Many(
    _values("action", "key", "value", "pattern", "from_attribute", "from_context", "converted_type", "default_value")
)
_METRICSTRANSFORM: Fields = {
    "transforms": Many(
        {
            **_values("include", "match_type", "action", "new_name", "aggregation_type", "submatch_case"), "experimental_match_labels": Keyed(VALUE),
            "group_resource_labels": Keyed(VALUE),
            "operations": Many(
                {
                    **_values("action", "label", "new_label", "aggregation_type", "new_value", "experimental_scale", "label_value"),
                    "label_set": Many(VALUE), "aggregated_values": Many(VALUE), "value_actions": Many(_values("value", "new_value")),
                }
            ),
        }
    )
}  # fmt: skip
_REDACTION: Fields = {
    **dict.fromkeys(("allowed_keys", "blocked_key_patterns", "ignored_keys", "ignored_key_patterns", "blocked_values", "allowed_values"), Many(VALUE)),
    **_values("allow_all_keys", "hash_function", "redact_all_types", "summary"), "hmac_key": ENV,
    "url_sanitizer": {"enabled": VALUE, "attributes": Many(VALUE), "sanitize_span_name": VALUE},
}  # fmt: skip
_SAMPLER = _values(
    "sampling_percentage",
    "hash_seed",
    "mode",
    "fail_closed",
    "sampling_precision",
    "attribute_source",
    "from_attribute",
    "sampling_priority",
)
_POLICY: Fields = {
    "name": VALUE, "type": VALUE, "latency": _values("threshold_ms", "upper_threshold_ms"),
    "numeric_attribute": _values("key", "min_value", "max_value", "invert_match"), "probabilistic": _values("hash_salt", "sampling_percentage"),
    "status_code": {"status_codes": Many(VALUE)},
    "string_attribute": {"values": Many(VALUE), **_values("key", "enabled_regex_matching", "cache_max_size", "invert_match")},
    "rate_limiting": _values("spans_per_second"), "bytes_limiting": _values("bytes_per_second", "burst_capacity"),
    "span_count": _values("min_spans", "max_spans"), "trace_state": {"key": VALUE, "values": Many(VALUE)},
    "boolean_attribute": _values("key", "value", "invert_match"),
    "ottl_condition": {"error_mode": word("ignore"), "span": Many(VALUE), "spanevent": Many(VALUE)},
}  # fmt: skip
_TAIL_SAMPLING: Fields = {
    "policies": Many(
        {
            **_POLICY, "and": {"and_sub_policy": Many(_POLICY)}, "drop": {"drop_sub_policy": Many(_POLICY)}, "not": {"not_sub_policy": _POLICY},
            "composite": {
                "max_total_spans_per_second": VALUE, "policy_order": Many(VALUE), "rate_allocation": Many(_values("policy", "percent")),
                "composite_sub_policy": Many({**_POLICY, "and": {"and_sub_policy": Many(_POLICY)}}),
            },
        }
    ),
    "decision_cache": _values("sampled_cache_size", "non_sampled_cache_size"),
    **_values(
        "decision_wait", "decision_wait_after_root_received", "num_traces", "expected_new_traces_per_sec", "sample_on_first_match", "sampling_strategy",
        "drop_pending_traces_on_shutdown", "maximum_trace_size_bytes", "block_on_overflow",
    ),
}  # fmt: skip
_LABELS: Fields = {"resource": Many(VALUE), "point": Many(VALUE)}
_AGGREGATION: Fields = {
    **_values("interval", "staleness", "max_series", "max_exemplars", "replica", "storage"),
    "rules": Many(
        {"metrics": {"names": Many(VALUE), "prefix": VALUE, "regexp": VALUE}, "drop_labels": _LABELS, "keep_labels": _LABELS, "operator": VALUE}
    ),
}  # fmt: skip
_CHOSEN: Fields = {
    "metrics": Many(VALUE),
    "metric_types": Many(VALUE),
    "match_type": VALUE,
    "regexp": _values("cacheenabled", "cachemaxnumentries"),
}

# --- extensions, connectors, service -----------------------------------------------------------------------------------------------------

_OPAMP: Fields = {
    "server": {
        "ws": {"endpoint": VALUE, "tls": _TLS, "headers": _HEADERS, "auth": VALUE},
        "http": {"endpoint": ADDRESS, "tls": _TLS, "headers": _HEADERS, "auth": VALUE, "polling_interval": VALUE},
    },
    "capabilities": _values("reports_effective_config", "reports_health", "reports_available_components", "accepts_restart_command"),
    "agent_description": {"non_identifying_attributes": Keyed(VALUE), "include_resource_attributes": VALUE},
    **_values("instance_uid", "ppid", "ppid_poll_interval"),
}  # fmt: skip
_FILE_STORAGE: Fields = {
    "directory": ENV, **_values("timeout", "fsync", "recreate"),
    "compaction": {
        "directory": ENV,
        **_values(
            "on_start", "on_rebound", "rebound_needed_threshold_mib", "rebound_trigger_threshold_mib", "max_transaction_size", "check_interval", "cleanup_on_start",
        ),
    },
}  # fmt: skip
_PROMETHEUS_READER: Fields = {
    "host": VALUE, "port": VALUE, **_values("without_scope_info", "without_type_suffix", "without_units"),
    "with_resource_constant_labels": {"included": Many(VALUE), "excluded": Many(VALUE)},
}  # fmt: skip
_OTLP_READER: Fields = {
    "endpoint": ADDRESS,
    "headers": _HEADERS,
    **_values("protocol", "insecure", "compression", "timeout", "temporality_preference"),
}
SERVICE: Fields = {
    "extensions": Many(VALUE),
    "pipelines": Keyed({"receivers": Many(VALUE), "processors": Many(VALUE), "exporters": Many(VALUE)}),
    "telemetry": {
        "resource": Keyed(VALUE),
        "logs": {
            **_values("level", "encoding", "development", "disable_caller", "disable_stacktrace"), "initial_fields": Keyed(VALUE),
            "sampling": _values("enabled", "tick", "initial", "thereafter"),
        },
        "metrics": {
            "level": VALUE,
            "readers": Many(
                {"pull": {"exporter": {"prometheus": _PROMETHEUS_READER}}, "periodic": {**_values("interval", "timeout"), "exporter": {"otlp": _OTLP_READER}}}
            ),
        },
        "traces": _values("level"),
    },
}  # fmt: skip
_OTLP_HTTP_EXPORTER: Fields = {
    **_HTTP_CLIENT,
    **_SENDING,
    "encoding": VALUE,
    **dict.fromkeys(("traces_endpoint", "metrics_endpoint", "logs_endpoint"), ADDRESS),
}
_OTLP_EXPORTER: Fields = {**_GRPC_CLIENT, **_SENDING}
ALLOWED: Mapping[str, Mapping[str, Fields]] = {
    "receivers": {
        "otlp": _OTLP_RECEIVER, "prometheus": _PROMETHEUS, "hostmetrics": _HOSTMETRICS, "filelog": _FILELOG, "file_log": _FILELOG,
        "fluentforward": {"endpoint": ADDRESS}, "nop": {},
    },
    "processors": {
        "batch": {**_values("timeout", "send_batch_size", "send_batch_max_size", "metadata_cardinality_limit"), "metadata_keys": Many(VALUE)},
        "memory_limiter": _values(
            "check_interval", "limit_mib", "spike_limit_mib", "limit_percentage", "spike_limit_percentage", "min_gc_interval_when_soft_limited",
            "min_gc_interval_when_hard_limited",
        ),
        "filter": _FILTER, "transform": _TRANSFORM, "attributes": {**_OLD_ITEMS, "actions": _ATTRIBUTE_ACTIONS}, "resource": {"attributes": _ATTRIBUTE_ACTIONS},
        "metricstransform": _METRICSTRANSFORM, "groupbyattrs": {"keys": Many(VALUE)}, "redaction": _REDACTION, "probabilistic_sampler": _SAMPLER,
        "tail_sampling": _TAIL_SAMPLING,
        "logdedup": {
            **_values("log_count_attribute", "interval", "timezone"), **dict.fromkeys(("exclude_fields", "include_fields", "conditions"), Many(VALUE)),
        },
        "interval": {"interval": VALUE, "pass_through": _values("gauge", "summary")},
        "cumulativetodelta": {**_values("max_staleness", "initial_value"), "include": _CHOSEN, "exclude": _CHOSEN},
        "deltatocumulative": _values("max_stale", "max_streams"), "aggregation": _AGGREGATION,
    },
    "exporters": {
        "otlp": _OTLP_EXPORTER, "otlp_grpc": _OTLP_EXPORTER, "otlphttp": _OTLP_HTTP_EXPORTER, "otlp_http": _OTLP_HTTP_EXPORTER,
        "prometheusremotewrite": {
            **_HTTP_CLIENT, "retry_on_failure": _RETRY, "external_labels": Keyed(VALUE), "remote_write_queue": _values("enabled", "queue_size", "num_consumers"),
            "target_info": _values("enabled"), "resource_to_telemetry_conversion": {"enabled": VALUE, "exclude_service_attributes": VALUE},
            **_values(
                "namespace", "max_batch_size_bytes", "max_batch_request_parallelism", "disable_scope_info", "add_metric_suffixes", "send_metadata",
                "protobuf_message",
            ),
        },
        "debug": {**_values("verbosity", "sampling_initial", "sampling_thereafter", "use_internal_logger"), "sending_queue": _QUEUE}, "nop": {},
    },
    "connectors": {
        "forward": {},
        "routing": {
            "error_mode": VALUE, "default_pipelines": Many(VALUE),
            "table": Many({**_values("context", "condition", "statement", "action"), "pipelines": Many(VALUE)}),
        },
    },
    "extensions": {
        "health_check": {
            **_HTTP_SERVER, "path": VALUE, "response_body": _values("healthy", "unhealthy"),
            "check_collector_pipeline": _values("enabled", "interval", "exporter_failure_threshold"),
        },
        "opamp": _OPAMP, "file_storage": _FILE_STORAGE, "zpages": {"endpoint": ADDRESS, "expvar": _values("enabled")},
        "bearertokenauth": {"scheme": VALUE, "header": VALUE, "token": ENV, "tokens": Many(ENV)},
    },
}  # fmt: skip
"""By kind and type, under both names where 0.149.0 renamed one."""
