"""Grafana's dashboards of New Visions: what each panel asks, without Grafana's many words."""
