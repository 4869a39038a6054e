"""The few shapes that nearly all queries have."""

from dev.dashboards.grafana import Query


def _of(metric: str, where: str, by: str, le: bool = False) -> str:
    labels = ", ".join(filter(None, (by, "le" if le else "")))
    grouped = f" by ({labels})" if labels else ""
    return f"sum{grouped} (rate({metric}{{{where}}}[$__rate_interval]))"


def per_second(metric: str, by: str = "", where: str = "", legend: str = "") -> Query:
    """How often something is counted, by one label."""
    return Query(_of(metric, where, by), legend or (f"{{{{{by}}}}}" if by else ""))


def quantile(share: float, histogram: str, by: str = "", where: str = "", legend: str = "") -> Query:
    """Of a histogram's name without its ending."""
    named = legend or (f"p{share * 100:g} {{{{{by}}}}}" if by else f"p{share * 100:g}")
    return Query(f"histogram_quantile({share}, {_of(f'{histogram}_bucket', where, by, le=True)})", named)


def quantiles(histogram: str, where: str = "") -> tuple[Query, ...]:
    return tuple(quantile(share, histogram, where=where) for share in (0.5, 0.95, 0.99))


def share(metric: str, bad: str, by: str = "", legend: str = "") -> Query:
    """Of all that is counted, what has these labels."""
    return Query(f"{_of(metric, bad, by)} / {_of(metric, '', by)}", legend or (f"{{{{{by}}}}}" if by else ""))
