"""Where the time of a performance goes, stage by stage, until somebody hears something."""

from typing import Final

from dev.dashboards.grafana import Dashboard, Panel, Query, Row
from dev.dashboards.queries import per_second, quantile, quantiles

STAGES: Final = Row(
    "Stages of a performance",
    (
        Panel("Half are done within", (quantile(0.5, "perform_step_seconds", "step"),), "s"),
        Panel("95 % are done within", (quantile(0.95, "perform_step_seconds", "step"),), "s"),
        Panel(
            "Time spent in each, of a second",
            (per_second("perform_step_seconds_sum", "step"),),
            "short",
            "How many performances are in a stage at once, on average.",
        ),
    ),
)
HEARD: Final = Row(
    "Until somebody hears something",
    (
        Panel("Performances", quantiles("perform_first_audio_seconds"), "s", alarm=1.5),
        Panel("Speeches", quantiles("perform_speech_first_audio_seconds"), "s"),
        Panel("Synthesis alone", (quantile(0.95, "synthesis_first_audio_seconds", "engine"),), "s"),
        Panel(
            "Our part of it",
            (quantile(0.95, "synthesis_first_mix_seconds", "engine"),),
            "s",
            "From the engine's first sound to the first frames handed out.",
        ),
    ),
)
WORDS: Final = Row(
    "Words",
    (
        Panel("95 % are written within", (quantile(0.95, "content_compose_seconds", "model"),), "s"),
        Panel("First token", (quantile(0.95, "content_first_token_seconds", "model"),), "s"),
        Panel("Models that could not answer", (per_second("content_model_fallbacks_total", "cause"),), "cps"),
        Panel("Notes as they came", (per_second("content_note_attempts_total", "outcome"),), "cps"),
        Panel("Rules that were broken", (per_second("content_note_rejections_total", "rule"),), "cps"),
    ),
)
SPEECH: Final = Row(
    "Speech",
    (
        Panel("Memos by outcome", (per_second("synthesis_spoken_total", "outcome"),), "cps"),
        Panel("Waited for the engine", (quantile(0.95, "synthesis_engine_seconds", "engine"),), "s"),
        Panel(
            "Time for a second of audio",
            (quantile(0.5, "synthesis_real_time_ratio", "engine"),),
            about="Above 1 memos that are streamed stop in the middle.",
            alarm=1,
        ),
        Panel("Memos under way", (Query("sum(synthesis_memos_in_progress)", "memos"),)),
    ),
)
GATE: Final = Row(
    "Seats at the speech provider",
    (
        Panel(
            "Taken, and waited for",
            (
                Query("sum by (engine) (synthesis_gate_seats_taken_count)", "{{engine}} taken"),
                Query("sum by (engine) (synthesis_gate_waiting_count)", "{{engine}} waiting"),
            ),
        ),
        Panel("95 % have one within", (quantile(0.95, "synthesis_gate_wait_seconds", "engine"),), "s"),
        Panel("Sent away", (per_second("synthesis_gate_refusals_total", "cause"),), "cps"),
    ),
)

PERFORMANCE: Final = Dashboard(
    "newvisions-stages", "New Visions: stages of a performance", (STAGES, HEARD, WORDS, SPEECH, GATE)
)
