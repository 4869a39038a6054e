"""Who has a place at the voice provider, who is given none, and what the provider says to us."""

from typing import Final

from dev.dashboards.grafana import Dashboard, Panel, Query, Row
from dev.dashboards.queries import per_second, quantile, share

PLACES: Final = Row(
    "Places",
    (
        Panel("Taken at the provider", (Query("max(voice_pool_size_places)"),), number=True),
        Panel(
            "Held by performances",
            (Query("sum(voice_pool_pinned_voices)"),),
            about="Nobody's voice is taken away while they perform.",
            number=True,
        ),
        Panel(
            "Voices that may still be made",
            (Query("min(voice_pool_adds_left_count)"),),
            about="In this billing cycle.",
            alarm=5,
            number=True,
        ),
        Panel(
            "Leases that found their voice in its place",
            (share("voice_leases_total", 'outcome="reused"'),),
            "percentunit",
            number=True,
        ),
    ),
)
COMING: Final = Row(
    "Who comes and who goes",
    (
        Panel("Leases", (per_second("voice_leases_total", "outcome"),), "cps"),
        Panel("Given a place", (per_second("voice_pool_admissions_total", "how"),), "cps"),
        Panel("Given none", (per_second("voice_pool_refusals_total", "ruling"),), "cps"),
        Panel("Lost their place", (per_second("voice_pool_evictions_total", "cause"),), "cps"),
        Panel("Cloned again", (per_second("voice_pool_reclones_total", legend="voices"),), "cps"),
    ),
)
PROVIDER: Final = Row(
    "The provider",
    (
        Panel("Asked", (per_second("voice_provider_seconds_count", "call"),), "reqps"),
        Panel("Answers by class", (per_second("voice_provider_seconds_count", "class"),), "reqps"),
        Panel("95 % answer within", (quantile(0.95, "voice_provider_seconds", "call"),), "s"),
        Panel("95 % of clones are made within", (quantile(0.95, "voice_clone_seconds", "provider"),), "s"),
        Panel(
            "Differences put right",
            (per_second("voice_reconciled_total", "found"),),
            "cps",
            "Between the provider's list of voices and ours.",
        ),
    ),
)
SAMPLES: Final = Row(
    "Samples",
    (
        Panel("Uploads", (per_second("voice_uploads_total", "outcome"),), "cps"),
        Panel("Recordings that wait", (Query("sum(voice_waiting_recordings)", "recordings"),)),
        Panel("95 % are examined within", (quantile(0.95, "voice_examination_seconds"),), "s"),
        Panel("Profiles read", (per_second("voice_profile_reads_total", "found"),), "cps"),
    ),
)

POOL: Final = Dashboard("newvisions-pool", "New Visions: voice pool", (PLACES, COMING, PROVIDER, SAMPLES))
