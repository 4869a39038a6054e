"""What a caller can ask for: to upload, to hear the sample again, to speak in the voice."""

from services.voice.usecases.leasing import LEASES, LeaseRules, Leasing
from services.voice.usecases.reading import Reading
from services.voice.usecases.touching import Touching
from services.voice.usecases.uploading import UPLOADS, Uploading

__all__ = ["LEASES", "UPLOADS", "LeaseRules", "Leasing", "Reading", "Touching", "Uploading"]
