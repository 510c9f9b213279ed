"""What Datadog makes of OTLP: tags of resource attributes, and metrics of its own of hosts', containers', brokers' and runtimes' metrics.

Such a metric is computed (one state of several, another unit), so who reads it may need every attribute of what it is made of. A metric that
only gets another spelling is not here: that is in `analyzer.naming`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import re2

OTLP_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "service": ("service.name",),
    "env": ("deployment.environment", "deployment.environment.name"),
    "version": ("service.version",),
    "host": ("host.name", "host.id", "datadog.host.name", "k8s.node.name", "k8s.cluster.name"),
    "region": ("cloud.region",),
    "zone": ("cloud.availability_zone",),
    "availability-zone": ("cloud.availability_zone",),
    "cloud_provider": ("cloud.provider",),
    "project_id": ("cloud.account.id",),
    "container_id": ("container.id",),
    "container_name": ("container.name", "k8s.container.name"),
    "image_name": ("container.image.name",),
    "image_tag": ("container.image.tag", "container.image.tags"),
    "runtime": ("container.runtime",),
    "kube_container_name": ("k8s.container.name",),
    "kube_cluster_name": ("k8s.cluster.name",),
    "kube_namespace": ("k8s.namespace.name",),
    "kube_deployment": ("k8s.deployment.name",),
    "kube_replica_set": ("k8s.replicaset.name",),
    "kube_stateful_set": ("k8s.statefulset.name",),
    "kube_daemon_set": ("k8s.daemonset.name",),
    "kube_job": ("k8s.job.name",),
    "kube_cronjob": ("k8s.cronjob.name",),
    "pod_name": ("k8s.pod.name",),
    "kube_node": ("k8s.node.name",),
    "ecs_cluster_name": ("aws.ecs.cluster.arn",),
    "task_arn": ("aws.ecs.task.arn",),
    "task_family": ("aws.ecs.task.family",),
    "task_version": ("aws.ecs.task.revision",),
}
"""Tags that Datadog makes of OTLP resource attributes (docs.datadoghq.com, "OpenTelemetry semantic conventions and Datadog conventions"):
who needs the tag needs the attribute."""

_REQUESTS = ("produce", "fetch_consumer", "fetch_follower")
_STATES = ("idle", "user", "system", "iowait", "stolen")
_POOLS = ("direct", "mapped")
_OF_OTLP: Mapping[str, tuple[str, ...]] = {
    "system.cpu.load_average.1m": ("system.load.1", "system.load.norm.1"),
    "system.cpu.load_average.5m": ("system.load.5", "system.load.norm.5"),
    "system.cpu.load_average.15m": ("system.load.15", "system.load.norm.15"),
    "system.cpu.utilization": tuple(f"system.cpu.{state}" for state in _STATES),
    "system.memory.usage": tuple(f"system.mem.{what}" for what in ("total", "usable", "pct_usable", "used", "free")),
    "system.paging.usage": ("system.swap.free", "system.swap.used"),
    "system.network.io": ("system.net.bytes_rcvd", "system.net.bytes_sent"),
    "system.filesystem.utilization": ("system.disk.in_use",),
    "container.cpu.usage.total": ("container.cpu.usage",),
    "container.cpu.usage.usermode": ("container.cpu.user",),
    "container.cpu.usage.user": ("container.cpu.user",),
    "container.cpu.usage.kernelmode": ("container.cpu.system",),
    "container.cpu.usage.system": ("container.cpu.system",),
    "container.cpu.throttling_data.throttled_time": ("container.cpu.throttled",),
    "container.cpu.throttling_data.throttled_periods": ("container.cpu.throttled.periods",),
    "container.memory.usage.total": ("container.memory.usage",),
    "container.memory.active_anon": ("container.memory.kernel",),
    "container.memory.hierarchical_memory_limit": ("container.memory.limit",),
    "container.memory.usage.limit": ("container.memory.soft_limit",),
    "container.memory.total_cache": ("container.memory.cache",),
    "container.memory.total_swap": ("container.memory.swap",),
    "container.blockio.io_service_bytes_recursive": ("container.io.read", "container.io.write"),
    "container.blockio.io_service_bytes_recursive.read": ("container.io.read",),
    "container.blockio.io_service_bytes_recursive.write": ("container.io.write",),
    "container.blockio.io_serviced_recursive": ("container.io.read.operations", "container.io.write.operations"),
    "container.network.io.usage.tx_bytes": ("container.net.sent",),
    "container.network.io.usage.tx_packets": ("container.net.sent.packets",),
    "container.network.io.usage.rx_bytes": ("container.net.rcvd",),
    "container.network.io.usage.rx_packets": ("container.net.rcvd.packets",),
    "kafka.producer.outgoing-byte-rate": ("kafka.producer.bytes_out",),
    "kafka.producer.byte-rate": ("kafka.producer.bytes_out",),
    "kafka.producer.io-wait-time-ns-avg": ("kafka.producer.io_wait",),
    "kafka.consumer.total.bytes-consumed-rate": ("kafka.consumer.bytes_in",),
    "kafka.consumer.total.records-consumed-rate": ("kafka.consumer.messages_in",),
    "kafka.consumer.bytes-consumed-rate": ("kafka.consumer.bytes_consumed",),
    "kafka.consumer.records-consumed-rate": ("kafka.consumer.records_consumed",),
    "kafka.network.io": ("kafka.net.bytes_out.rate", "kafka.net.bytes_in.rate"),
    "kafka.purgatory.size": tuple(f"kafka.request.{what}_request_purgatory.size" for what in ("producer", "fetch")),
    "kafka.partition.under_replicated": ("kafka.replication.under_replicated_partitions",),
    "kafka.partition.offline": ("kafka.replication.offline_partitions_count",),
    "kafka.partition.count": ("kafka.replication.partition_count",),
    "kafka.partition.current_offset": ("kafka.broker_offset",),
    "kafka.isr.operation.count": ("kafka.replication.isr_shrinks.rate", "kafka.replication.isr_expands.rate"),
    "kafka.leader.election.rate": ("kafka.replication.leader_elections.rate",),
    "kafka.unclean.election.rate": ("kafka.replication.unclean_leader_elections.rate",),
    "kafka.max.lag": ("kafka.replication.max_lag",),
    "kafka.controller.active.count": ("kafka.replication.active_controller_count",),
    "kafka.message.count": ("kafka.messages_in.rate",),
    "kafka.request.failed": ("kafka.request.produce.failed.rate", "kafka.request.fetch.failed.rate"),
    "kafka.request.time.avg": tuple(f"kafka.request.{what}.time.avg" for what in _REQUESTS),
    "kafka.request.time.99p": tuple(f"kafka.request.{what}.time.99percentile" for what in _REQUESTS),
    "kafka.request.queue": ("kafka.request.channel.queue.size",),
    "kafka.logs.flush.time.count": ("kafka.log.flush_rate.rate",),
    "kafka.consumer_group.lag": ("kafka.consumer_lag",),
    "kafka.consumer_group.offset": ("kafka.consumer_offset",),
    "jvm.gc.collections.count": ("jvm.gc.minor_collection_count", "jvm.gc.major_collection_count"),
    "jvm.gc.collections.elapsed": ("jvm.gc.minor_collection_time", "jvm.gc.major_collection_time"),
    "process.runtime.go.goroutines": ("runtime.go.num_goroutine",),
    "process.runtime.go.cgo.calls": ("runtime.go.num_cgo_call",),
    "process.runtime.go.lookups": ("runtime.go.mem_stats.lookups",),
    **{
        f"process.runtime.go.mem.heap_{what}": (f"runtime.go.mem_stats.heap_{what}",)
        for what in ("alloc", "sys", "idle", "inuse", "released", "objects")
    },
    "process.runtime.go.gc.pause_total_ns": ("runtime.go.mem_stats.pause_total_ns",),
    "process.runtime.go.gc.count": ("runtime.go.mem_stats.num_gc",),
    "process.runtime.dotnet.monitor.lock_contention.count": ("runtime.dotnet.threads.contention_count",),
    "process.runtime.dotnet.exceptions.count": ("runtime.dotnet.exceptions.count",),
    "process.runtime.dotnet.gc.heap.size": tuple(f"runtime.dotnet.gc.size.{heap}" for heap in ("gen0", "gen1", "gen2", "loh")),
    "process.runtime.dotnet.gc.collections.count": tuple(f"runtime.dotnet.gc.count.gen{n}" for n in range(3)),
    **{
        name: made
        for prefix in ("process.runtime.jvm", "jvm")
        for name, made in {
            f"{prefix}.threads.count": ("jvm.thread_count",),
            f"{prefix}.thread.count": ("jvm.thread_count",),
            f"{prefix}.classes.loaded": ("jvm.loaded_classes",),
            f"{prefix}.class.count": ("jvm.loaded_classes",),
            f"{prefix}.system.cpu.utilization": ("jvm.cpu_load.system",),
            f"{prefix}.cpu.utilization": ("jvm.cpu_load.process",),
            f"{prefix}.cpu.recent_utilization": ("jvm.cpu_load.process",),
            f"{prefix}.gc.duration": ("jvm.gc.parnew.time",),
            **dict.fromkeys(
                (f"{prefix}.memory.usage", f"{prefix}.memory.used"),
                (
                    "jvm.heap_memory",
                    "jvm.non_heap_memory",
                    *(f"jvm.gc.{pool}_size" for pool in ("old_gen", "eden", "survivor", "metaspace")),
                ),
            ),
            **{
                f"{prefix}.memory.{what}": (f"jvm.heap_memory_{made}", f"jvm.non_heap_memory_{made}")
                for what, made in (("committed", "committed"), ("init", "init"), ("limit", "max"))
            },
            **{
                f"{prefix}.buffer.{what}": tuple(f"jvm.buffer_pool.{pool}.{made}" for pool in _POOLS)
                for what, made in (
                    ("usage", "used"),
                    ("memory.usage", "used"),
                    ("memory.used", "used"),
                    ("count", "count"),
                    ("limit", "limit"),
                )
            },
        }.items()
    },
    **{
        f"{prefix}.{what}": made
        for prefix, (what, made) in product(
            ("process.runtime.cpython", "runtime.cpython"),
            (
                ("cpu_time", ("runtime.python.cpu.time.sys", "runtime.python.cpu.time.user")),
                ("gc_count", tuple(f"runtime.python.gc.count.gen{n}" for n in range(3))),
                ("memory", ("runtime.python.mem.rss",)),
            ),
        )
    },
}
"""OTLP metrics and what Datadog makes of them (docs.datadoghq.com, "OpenTelemetry Metrics Mapping" and "Runtime Metrics")."""
_MADE_OF: Mapping[str, tuple[str, ...]] = {
    made: tuple(otlp for otlp, all_made in _OF_OTLP.items() if made in all_made) for names in _OF_OTLP.values() for made in names
}


def made_of(name: str) -> tuple[str, ...]:
    """The OTLP metrics that become a metric of Datadog with another name."""
    return _MADE_OF.get(name, ())


def made_of_any(pattern: str) -> tuple[str, ...]:
    """The OTLP metrics of which something is made whose name matches."""
    compiled = re2.compile(pattern)
    return tuple(otlp for otlp, names in _OF_OTLP.items() if any(map(compiled.fullmatch, names)))
