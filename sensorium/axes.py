"""The axis words used in every shape annotation and every einops pattern of sensorium.

======== =====================================================================
word     meaning
======== =====================================================================
batch    rows of a batch (samples)
row      rows of a table, or rows that are present for one modality
token    tokens of one modality (patches, frames, words, columns)
width    channels of a token, shared by all modalities (D)
modality modalities of the schema, in the schema's order (M)
channel  channels of a picture, a feature map or a recording
height   picture rows
width_px picture columns
sample   waveform samples
frame    spectrogram frames
band     mel bands
column   columns of the table modality
class_   classes of a target
replicate bootstrap replicates
======== =====================================================================

Masks are boolean and True means *real*. Spans are (start, end) pairs: seconds for sound, character offsets for
text, (left, top, right, bottom) in 0…1 for pictures, the column number for tables.
"""

WORDS = (
    "batch", "row", "token", "width", "modality", "channel", "height", "width_px", "sample", "frame", "band",
    "column", "class_", "replicate",
)
