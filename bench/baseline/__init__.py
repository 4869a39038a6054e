"""What New Visions is measured against: its main job as one plain application, in one process.

FastAPI, MongoDB, a folder for the audio. It is what a good engineer writes in a week, and it is meant to
be fast: nothing blocks the event loop, connections are kept, the sound is made by the same code as ours.
It leaves out what ours is for: an answer is not remembered, a crash in the middle costs the performer
credits, two processes know nothing of each other, and no voice is taken away to make room for another.
"""
