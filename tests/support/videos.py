"""Decode videos as a player does."""

import cv2


def read_video(path):
    """Decode a video to its end and return ``(frames, fps)``."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert video.isOpened(), f"{path} cannot be played"
    frames = []
    while True:
        more, image = video.read()
        if not more:
            break
        frames.append(image)
    fps = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return frames, fps
