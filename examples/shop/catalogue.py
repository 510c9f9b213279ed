"""What the shop measures: every metric of every service, as a table that fixes each series before the first beat."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

Kind = Literal["counter", "updown", "gauge", "histogram", "exponential_histogram", "summary"]
Labels = Mapping[str, tuple[str, ...]]

SERVICES: Mapping[str, str] = {
    "frontend": "4.12.0",
    "cart": "2.7.3",
    "checkout": "3.1.0",
    "payment": "1.9.14",
    "inventory": "0.8.2",
    "shipping": "1.2.5",
}
"""Service name to version; the six services of the namespace `shop`."""

NAMESPACE = "shop"
USERS = 1_500
"""Values of `user_id`: under the SDK's limit of 2,000 attribute sets an instrument, so nothing overflows."""
PODS = 600

SECONDS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds that the HTTP semantic conventions advise for durations in seconds."""
COARSE_SECONDS_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BYTES_BOUNDS = (1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0)
WEIGHT_BOUNDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
MONEY_BOUNDS = (5.0, 10.0, 25.0, 50.0, 100.0, 250.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One instrument; its series are the product of its label values, so their number never changes.

    `middle` is a typical value in the metric's own unit: the mean of a gauge or of a recorded value, the increase a
    second of a counter.
    """

    service: str
    name: str
    kind: Kind
    unit: str
    description: str
    labels: Labels
    middle: float = 1.0
    bounds: tuple[float, ...] = ()

    def series(self) -> Iterator[dict[str, str]]:
        """Every attribute set of this metric, in the order of the table."""
        names = tuple(self.labels)
        for values in product(*self.labels.values()):
            yield dict(zip(names, values, strict=True))


def _digest(seed: int, what: str, index: int) -> str:
    return hashlib.sha256(f"{seed}\0{what}\0{index}".encode()).hexdigest()


def user_ids(seed: int) -> tuple[str, ...]:
    """The shop's customers: the same 1,500 for the same seed."""
    return tuple(f"u-{index:04d}-{_digest(seed, 'user', index)[:8]}" for index in range(USERS))


def pod_names(seed: int) -> tuple[str, ...]:
    """Pods of a deployment that never forgets one: the same 600 for the same seed."""
    digests = (_digest(seed, "pod", index) for index in range(PODS))
    return tuple(f"inventory-{index // 20:03d}{digest[:6]}-{digest[6:11]}" for index, digest in enumerate(digests))


def numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}-{index:02d}" for index in range(1, count + 1))


REGIONS = ("eu-west", "eu-north", "us-east", "ap-south")
DEVICES = ("desktop", "phone", "tablet")
CATEGORIES = ("books", "toys", "garden", "kitchen", "music", "sport")
CARRIERS = ("alba", "boreal", "cirrus", "dorado", "etesian")
PROVIDERS = ("norbank", "quickpay", "sund")
WAREHOUSES = ("aarhus", "bremen", "cork", "delft")
STATES = ("cart", "address", "delivery", "payment", "review", "placed")
REASONS = ("ttl", "size", "admin")


def http_metrics(service: str, routes: tuple[str, ...]) -> tuple[Metric, ...]:
    """The two server metrics of the HTTP semantic conventions, which dashboards read in every service."""
    labels = {"http.request.method": ("GET", "POST"), "http.route": routes}
    return (
        Metric(
            service, "http.server.request.duration", "histogram", "s", "Duration of HTTP server requests.",
            {**labels, "http.response.status_code": ("200", "500")}, 0.08, SECONDS_BOUNDS,
        ),
        Metric(
            service, "http.server.active_requests", "updown", "{request}", "Requests in flight.",
            {"http.request.method": ("GET", "POST")}, 3,
        ),
    )  # fmt: skip


def frontend() -> tuple[Metric, ...]:
    templates = ("home", "list", "product", "basket", "pay", "done", "help", "error")
    table = (
        ("shop.frontend.page.views", "counter", "{page}", "Pages shown.", {"page": templates, "device": DEVICES}, 3),
        ("shop.frontend.page.weight", "exponential_histogram", "By", "Bytes of a page.", {"device": DEVICES}, 30_000),
        ("shop.frontend.deployments", "counter", "{deployment}", "Releases rolled out.", {"ring": ("canary", "all")}, 0.01),
        ("shop.frontend.template.render.duration", "histogram", "s", "Rendering one template.", {"template": templates}, 0.03, COARSE_SECONDS_BOUNDS),
        ("shop.frontend.session.renewals", "counter", "{renewal}", "Sessions renewed.", {"region": REGIONS, "device": DEVICES}, 2),
        ("shop.frontend.assets.served", "counter", "By", "Bytes of static files.", {"type": ("css", "js", "png", "svg", "woff2", "webp")}, 90_000),
        ("shop.frontend.asset.compression", "gauge", "1", "Compressed share of static bytes.", {"type": ("css", "js", "svg")}, 0.3),
    )  # fmt: skip
    return http_metrics("frontend", ("/", "/list", "/product/:id", "/basket")) + tuple(Metric("frontend", *row) for row in table)


def cart(seed: int) -> tuple[Metric, ...]:
    caches = ("items", "prices", "images", "vouchers", "stock", "users")
    table = (
        ("shop.cart.requests", "counter", "{request}", "Calls to the cart.", {"user_id": user_ids(seed)}, 0.05),
        ("shop.cart.items", "updown", "{item}", "Items in open carts.", {"region": REGIONS, "category": CATEGORIES}, 120),
        ("shop.cart.merge.conflicts", "counter", "{conflict}", "Carts of one user that differ.", {"region": REGIONS}, 0.2),
        ("shop.cart.cache.evictions", "counter", "{eviction}", "Entries the cache gave up.", {"cache": caches, "reason": REASONS}, 4),
        ("shop.cart.serializer.buffer.size", "gauge", "By", "Bytes held for serialising.", {"worker": numbered("worker", 8)}, 48_000),
        ("shop.cart.item.mass", "exponential_histogram", "g", "Mass of an added item.", {"category": CATEGORIES}, 600),
    )  # fmt: skip
    return http_metrics("cart", ("/cart", "/cart/items")) + tuple(Metric("cart", *row) for row in table)


def checkout() -> tuple[Metric, ...]:
    table = (
        ("shop.orders", "counter", "{order}", "Orders placed.", {"region": REGIONS, "device": DEVICES}, 0.4),
        ("shop.orders.refunded", "counter", "{order}", "Orders paid back.", {"region": REGIONS}, 0.03),
        ("shop.orders.cancelled", "counter", "{order}", "Orders given up by the customer.", {"region": REGIONS}, 0.05),
        ("shop.checkout.duration", "histogram", "s", "From the first step to the last.", {"region": REGIONS, "device": DEVICES}, 0.9, SECONDS_BOUNDS),
        ("shop.checkout.abandonments", "counter", "{checkout}", "Checkouts left unfinished.", {"state": STATES}, 0.2),
        ("shop.checkout.queue.length", "gauge", "{checkout}", "Checkouts waiting.", {"region": REGIONS}, 7),
        ("shop.checkout.state.transitions", "counter", "{transition}", "Moves between steps.", {"from": STATES, "to": STATES}, 1),
        ("shop.checkout.draft.orders", "updown", "{order}", "Orders not yet placed.", {"region": REGIONS}, 25),
        ("shop.checkout.validation.score", "gauge", "1", "Share of fields that passed.", {"step": STATES}, 0.9),
    )  # fmt: skip
    return http_metrics("checkout", ("/checkout", "/checkout/pay")) + tuple(Metric("checkout", *row) for row in table)


def payment() -> tuple[Metric, ...]:
    declines = ("funds", "expired", "fraud", "limit", "network", "other")
    table = (
        ("shop.payment.charges", "counter", "{charge}", "Cards charged.", {"provider": PROVIDERS, "currency": ("EUR", "DKK", "USD")}, 0.4),
        ("shop.payment.amount", "histogram", "{euro}", "Amount of a charge.", {"provider": PROVIDERS}, 40, MONEY_BOUNDS),
        ("shop.payment.declines", "counter", "{decline}", "Charges refused.", {"reason": declines}, 0.1),
        ("shop.payment.provider.failures", "counter", "{failure}", "Calls that a provider failed.", {"provider": PROVIDERS}, 0.05),
        ("shop.payment.provider.latency", "gauge", "ms", "Last round trip to a provider.", {"provider": PROVIDERS}, 140),
        ("shop.payment.token.refreshes", "counter", "{refresh}", "Access tokens renewed.", {"issuer": numbered("issuer", 10)}, 0.1),
        ("shop.payment.hsm.queue.depth", "updown", "{request}", "Requests waiting for the key store.", {"slot": numbered("slot", 8)}, 2),
        ("shop.payment.receipt.size", "histogram", "By", "Bytes of a receipt.", {"format": ("html", "pdf", "text")}, 20_000, BYTES_BOUNDS),
    )  # fmt: skip
    return tuple(Metric("payment", *row) for row in table)


def inventory(seed: int) -> tuple[Metric, ...]:
    table = (
        ("shop.inventory.lookups", "counter", "{lookup}", "Stock questions answered.", {"pod": pod_names(seed)}, 0.3),
        ("shop.inventory.stock", "gauge", "{item}", "Items on the shelf.", {"warehouse": WAREHOUSES, "category": CATEGORIES}, 900),
        ("shop.inventory.fill.level", "gauge", "1", "Share of shelf space in use.", {"warehouse": WAREHOUSES}, 0.7),
        ("shop.inventory.last.sync.time", "gauge", "s", "Unix time of the last sync.", {"warehouse": WAREHOUSES}, 1_700_000_000),
        ("shop.inventory.reindex.duration", "histogram", "s", "Rebuilding one index.", {"index": numbered("index", 6)}, 1.5, COARSE_SECONDS_BOUNDS),
        ("shop.inventory.bin.scans", "counter", "{scan}", "Bins scanned by hand.", {"aisle": numbered("aisle", 20)}, 0.5),
        ("shop.inventory.sensor.temperature", "gauge", "Cel", "Temperature of a hall.", {"warehouse": WAREHOUSES, "sensor": numbered("sensor", 6)}, 17),
        ("shop.inventory.sync.latency", "summary", "ms", "Delay of a stock message.", {"warehouse": WAREHOUSES}, 60),
    )  # fmt: skip
    return tuple(Metric("inventory", *row) for row in table)


def shipping() -> tuple[Metric, ...]:
    table = (
        ("shop.shipping.parcels", "counter", "{parcel}", "Parcels handed over.", {"carrier": CARRIERS, "region": REGIONS}, 0.2),
        ("shop.shipping.dispatch.duration", "histogram", "s", "From order to carrier.", {"carrier": CARRIERS}, 3.0, COARSE_SECONDS_BOUNDS),
        ("shop.shipping.depot.ready", "gauge", "{depot}", "1 when a depot takes parcels.", {"depot": numbered("depot", 6)}, 1),
        ("shop.shipping.label.prints", "counter", "{label}", "Labels printed.", {"carrier": CARRIERS, "format": ("a6", "zpl", "pdf")}, 0.2),
        ("shop.shipping.route.candidates", "gauge", "{route}", "Routes weighed for a parcel.", {"region": REGIONS}, 12),
        ("shop.shipping.parcel.weight", "histogram", "kg", "Weight of a parcel.", {"carrier": CARRIERS}, 2.2, WEIGHT_BOUNDS),
    )  # fmt: skip
    return tuple(Metric("shipping", *row) for row in table)


def catalogue(seed: int) -> tuple[Metric, ...]:
    """Every metric of the shop; the seed only names the users and the pods."""
    return frontend() + cart(seed) + checkout() + payment() + inventory(seed) + shipping()


def of_service(metrics: tuple[Metric, ...], service: str) -> tuple[Metric, ...]:
    return tuple(metric for metric in metrics if metric.service == service)


def resource_attributes(service: str, seed: int) -> dict[str, str]:
    """The identity of one service, the same in every process that has the same seed."""
    return {
        "service.namespace": NAMESPACE,
        "service.name": service,
        "service.version": SERVICES[service],
        "service.instance.id": f"{service}-{_digest(seed, service, 0)[:12]}",
        "deployment.environment.name": "demo",
    }
