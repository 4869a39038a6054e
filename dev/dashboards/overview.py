"""Is it working? The promises first, then requests from the outside in, then the processes."""

from typing import Final

from dev.dashboards.grafana import Dashboard, Panel, Query, Row
from dev.dashboards.queries import per_second, quantile, quantiles, share

_OURS: Final = 'code=~"UNAVAILABLE|INTERNAL|DEADLINE_EXCEEDED|UNKNOWN"'
_EDGE: Final = 'envoy_http_conn_manager_prefix="edge"'


def _month(bad: str, all_: str) -> str:
    return f"avg_over_time(newvisions:{bad}:rate5m[30d]) / avg_over_time(newvisions:{all_}:rate5m[30d])"


_FAILED: Final = _month("performances_failed", "performances_judged")
_LATE: Final = _month("first_audio_late", "first_audio_heard")

PROMISES: Final = Row(
    "What we promise: 99.9 % of performances succeed, 95 % are heard within 1.5 s",
    (
        Panel("Succeeded in 30 days", (Query(f"1 - {_FAILED}"),), "percentunit", number=True),
        Panel(
            "Budget of failures left",
            (Query(f"1 - ({_FAILED}) / 0.001"),),
            "percentunit",
            "Of what the promise allows in 30 days. Below nothing it is broken.",
            number=True,
        ),
        Panel("Heard within 1.5 s in 30 days", (Query(f"1 - {_LATE}"),), "percentunit", number=True),
        Panel(
            "Budget of lateness left",
            (Query(f"1 - ({_LATE}) / 0.05"),),
            "percentunit",
            number=True,
        ),
    ),
)
BURNING: Final = Row(
    "How fast the budgets go: at 1 they last the month",
    (
        Panel(
            "Failures",
            tuple(
                Query(f"newvisions:performances_failed:ratio{window} / 0.001", window)
                for window in ("5m", "1h", "6h", "3d")
            ),
            about="A page at 14.4 over an hour or 6 over six, a ticket at 3 over a day or 1 over three.",
            alarm=14.4,
        ),
        Panel(
            "Lateness",
            tuple(
                Query(f"newvisions:first_audio_late:ratio{window} / 0.05", window)
                for window in ("5m", "1h", "6h", "3d")
            ),
            alarm=14.4,
        ),
        Panel(
            "First audio",
            quantiles("perform_first_audio_seconds"),
            "s",
            "From the claim of a performance to its first byte of audio.",
            alarm=1.5,
        ),
    ),
)
GATEWAY: Final = Row(
    "At the gateway",
    (
        Panel(
            "Requests by class of answer",
            (
                per_second(
                    "envoy_http_downstream_rq_xx",
                    "envoy_response_code_class",
                    _EDGE,
                    "{{envoy_response_code_class}}xx",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Duration of requests",
            tuple(quantile(part, "envoy_http_downstream_rq_time", where=_EDGE) for part in (0.5, 0.95, 0.99)),
            "ms",
        ),
        Panel(
            "Performances that no service answered",
            (
                per_second(
                    "envoy_vhost_vcluster_upstream_rq_xx",
                    where='envoy_virtual_cluster="performances",envoy_response_code_class="5"',
                    legend="answered by the gateway",
                ),
                per_second(
                    "envoy_cluster_upstream_rq_pending_overflow",
                    "envoy_cluster_name",
                    legend="{{envoy_cluster_name}} full",
                ),
            ),
            "reqps",
        ),
        Panel(
            "Healthy hosts",
            (
                Query(
                    "min by (envoy_cluster_name) (envoy_cluster_membership_healthy)", "{{envoy_cluster_name}}"
                ),
            ),
        ),
    ),
)
CALLS: Final = Row(
    "Between services",
    (
        Panel("Calls served", (per_second("rpc_seconds_count", "method"),), "reqps"),
        Panel("Share that failed through us", (share("rpc_seconds_count", _OURS, "method"),), "percentunit"),
        Panel("95 % are served within", (quantile(0.95, "rpc_seconds", "method"),), "s"),
        Panel(
            "95 % get their answer within",
            (quantile(0.95, "rpc_client_seconds", "method"),),
            "s",
            "As who asks sees it; what it has more than the panel beside it is the way there.",
        ),
    ),
)
PROCESSES: Final = Row(
    "Processes",
    (
        Panel("Answer monitoring", (Query('min by (instance) (up{job=~".*newvisions.*"})', "{{instance}}"),)),
        Panel(
            "The event loop's lag",
            (quantile(0.99, "server_loop_lag_seconds", "instance"),),
            "s",
            "What blocks it makes somebody on a stage wait.",
            alarm=0.1,
        ),
        Panel(
            "Processor",
            (per_second("process_cpu_seconds_total", "instance"),),
            "percentunit",
        ),
        Panel(
            "Memory", (Query("max by (instance) (process_resident_memory_bytes)", "{{instance}}"),), "bytes"
        ),
        Panel(
            "What they need",
            (Query("min by (dependency) (server_dependency_up)", "{{dependency}}"),),
            about="1 while it answers.",
        ),
        Panel(
            "Rounds that fail",
            (per_second("server_rounds_total", "work", 'outcome="failed"'),),
            "cps",
            "Of sweepers and of the pool's reconciliation.",
        ),
    ),
)
CREDITS: Final = Row(
    "Credits and recordings",
    (
        Panel(
            "Reservations",
            (per_second("auth_reservations_total", "outcome"),),
            "cps",
            "Exhausted are refused; expired were forgotten by a process that died.",
        ),
        Panel("Credits charged", (per_second("auth_credits_charged_total", legend="credits"),), "cps"),
        Panel(
            "Performances that ended",
            (
                per_second("perform_outcomes_total", "state"),
                per_second("perform_swept_total", "phase", legend="swept while {{phase}}"),
            ),
            "cps",
        ),
        Panel(
            "Why they failed",
            (per_second("perform_outcomes_total", "reason", 'state="failed"'),),
            "cps",
        ),
        Panel(
            "Refused because all places were taken",
            (
                per_second("perform_refused_total", "for"),
                Query("sum by (for) (perform_places)", "places for {{for}}"),
                Query("sum by (for) (perform_places_taken)", "taken by {{for}}"),
                Query("sum by (for) (perform_places_waiting)", "waiting for {{for}}"),
            ),
        ),
        Panel("Audio kept", (per_second("perform_recorded_bytes_total", legend="recordings"),), "Bps"),
    ),
)
ACCOUNTS: Final = Row(
    "Accounts",
    (
        Panel(
            "Registered and signed in",
            (
                per_second("auth_registrations_total", legend="registered"),
                per_second("auth_logins_total", legend="signed in"),
                per_second("auth_password_resets_total", "outcome", legend="password reset: {{outcome}}"),
            ),
            "cps",
        ),
        Panel(
            "Refused",
            (
                per_second("auth_credentials_refused_total", legend="wrong name or password"),
                per_second("auth_sign_ins_slowed_total", legend="too many failures"),
                per_second("auth_sign_ins_uncounted_total", legend="let through uncounted"),
            ),
            "cps",
            "Uncounted are those whom nobody counts while the cache is away.",
        ),
        Panel(
            "Sessions gone on with",
            (
                per_second("auth_refreshes_total", "outcome", legend="refresh token: {{outcome}}"),
                per_second("auth_session_exchanges_total", "outcome", legend="cookie: {{outcome}}"),
            ),
            "cps",
        ),
        Panel("API keys presented", (per_second("auth_api_key_exchanges_total", "outcome"),), "cps"),
        Panel("95 % of passwords are hashed within", (quantile(0.95, "auth_password_seconds"),), "s"),
        Panel(
            "Erased and retired",
            (
                per_second("auth_erasures_total", "state", legend="erasures {{state}}"),
                per_second("auth_erasure_steps_postponed_total", "step", legend="postponed: {{step}}"),
                per_second("auth_retired_total", "what", legend="retired: {{what}}"),
            ),
            "cps",
        ),
    ),
)

OVERVIEW: Final = Dashboard(
    "newvisions-overview",
    "New Visions: overview",
    (PROMISES, BURNING, GATEWAY, CALLS, CREDITS, ACCOUNTS, PROCESSES),
)
