"""From any recording to a normalised sample, or to a refusal that helps to record a better one."""
