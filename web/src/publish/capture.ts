/** Camera, screen and microphone. */
import type { Size } from "./quality";

export interface Wish {
  readonly source: "camera" | "screen" | "none";
  /** Device ids; empty for the browser's choice. */
  readonly camera: string;
  /** null: no microphone. */
  readonly microphone: string | null;
  readonly size: Size;
  readonly fps: number;
  /** Echo cancellation, noise suppression and gain: good for a voice, bad for music. */
  readonly clean: boolean;
}

export interface Devices {
  readonly cameras: readonly MediaDeviceInfo[];
  readonly microphones: readonly MediaDeviceInfo[];
}

export function canCapture(): boolean {
  return typeof navigator.mediaDevices?.getUserMedia === "function" && typeof RTCPeerConnection !== "undefined";
}

export async function devices(): Promise<Devices> {
  const all = await navigator.mediaDevices.enumerateDevices();
  const named = (kind: MediaDeviceKind) => all.filter((device) => device.kind === kind && device.deviceId !== "");
  return { cameras: named("videoinput"), microphones: named("audioinput") };
}

/** Switches on what is wished; throws the browser's error, with everything switched off again. */
export async function capture(wish: Wish): Promise<MediaStream> {
  const stream = new MediaStream();
  try {
    if (wish.source === "screen") {
      // First: it needs the fresh press of a button, which a microphone prompt would use up.
      await add(stream, navigator.mediaDevices.getDisplayMedia({ video: screenOf(wish), audio: wish.microphone === null }));
      if (wish.microphone !== null) {
        await add(stream, navigator.mediaDevices.getUserMedia({ audio: soundOf(wish, wish.microphone) }));
      }
    } else {
      await add(
        stream,
        navigator.mediaDevices.getUserMedia({
          ...(wish.source === "camera" ? { video: cameraOf(wish) } : {}),
          ...(wish.microphone === null ? {} : { audio: soundOf(wish, wish.microphone) }),
        }),
      );
    }
  } catch (error) {
    stop(stream);
    throw error;
  }
  for (const track of stream.getVideoTracks()) track.contentHint = wish.source === "screen" ? "detail" : "motion";
  for (const track of stream.getAudioTracks()) track.contentHint = wish.clean ? "speech" : "music";
  return stream;
}

export function stop(stream: MediaStream | null): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

async function add(stream: MediaStream, more: Promise<MediaStream>): Promise<void> {
  for (const track of (await more).getTracks()) stream.addTrack(track);
}

function cameraOf({ camera, size, fps }: Wish): MediaTrackConstraints {
  return {
    ...(camera ? { deviceId: { exact: camera } } : {}),
    width: { ideal: size.width },
    height: { ideal: size.height },
    frameRate: { ideal: fps, max: fps },
  };
}

function screenOf({ size, fps }: Wish): MediaTrackConstraints {
  return { width: { max: size.width }, height: { max: size.height }, frameRate: { ideal: fps, max: fps } };
}

function soundOf({ clean }: Wish, microphone: string): MediaTrackConstraints {
  return {
    ...(microphone ? { deviceId: { exact: microphone } } : {}),
    echoCancellation: clean,
    noiseSuppression: clean,
    autoGainControl: clean,
    channelCount: { ideal: clean ? 1 : 2 },
  };
}
