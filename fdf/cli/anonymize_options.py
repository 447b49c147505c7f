"""The options of `fdf anonymize`, one a name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Source = Annotated[
    str, typer.Argument(metavar="INPUT", help="A picture or film, a stream, a folder, or a pattern: 'in/*.jpg'.")
]
Output = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        help="File, or folder for a folder or a pattern; films: window: or camera:[NAME] to show them.",
    ),
]
Method = Annotated[str, typer.Option("--method", help="solid, blur, pixelate, gan or donor.")]
Region = Annotated[
    Literal["face", "head"], typer.Option("--region", help="What to hide: forehead to chin, or hair and ears too.")
]
Strength = Annotated[
    float, typer.Option("--strength", help="Of blur, pixelate and donor (1–2); under 1 more of a face stays.")
]
Model = Annotated[
    Path | None,
    typer.Option("--model", help="Of gan: a generator that fdf export made. Default: the one that fdf brings."),
]
Donors = Annotated[
    Path | None,
    typer.Option("--donors", help="Of donor: folder of those who lend their faces. Default: the ones that fdf brings."),
]
Guarded = Annotated[
    bool | None,
    typer.Option(
        "--guard/--no-guard",
        help="Methods that draw faces: draw again while a face is too much like its source. Default: yes.",
    ),
]
Protect = Annotated[
    Path | None,
    typer.Option("--protect", help="Folder with a folder a person: no face that is drawn may be like them."),
]
Fallback = Annotated[str, typer.Option("--fallback", help="Method for faces that --method can't do.")]
Thoroughness = Annotated[
    Literal["fast", "normal", "thorough"] | None,
    typer.Option("--thoroughness", help="How closely to look for faces. Default: normal, in films what keeps pace."),
]
Threshold = Annotated[float | None, typer.Option("--threshold", help="Lowest score of a face, 0–1; lower finds more.")]
Detections = Annotated[
    Path | None,
    typer.Option(
        "--detections", help="JSON with the faces, instead of looking for them; of a film lines of it, .jsonl."
    ),
]
SaveDetections = Annotated[
    Path | None,
    typer.Option(
        "--save-detections", help="Write the faces as JSON, to mend and render again; of a film lines of it, .jsonl."
    ),
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="TOML file that says who stays; without it nobody does.")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", help="Of a policy for groups of viewers: make this version only. Default: all of them."),
]
Log = Annotated[
    Path | None,
    typer.Option("--audit-log", help="Where every decision goes. Default: POLICY.audit.jsonl beside the policy."),
]
Salt = Annotated[
    str | None,
    typer.Option("--salt", help="Methods that draw faces: same salt, same stand-ins. Default: one that nobody knows."),
]
People = Annotated[
    bool | None,
    typer.Option(
        "--people/--no-people",
        help="Films: one stand-in a person, in all films of the command, not one a track. Default: yes if faces are drawn.",
    ),
]
Quality = Annotated[
    int, typer.Option("--quality", min=1, max=100, help="Of JPEG, AVIF, HEIC and lossy WebP. Not of films.")
]
Audio = Annotated[
    Literal["keep", "drop", "distort"], typer.Option("--audio", help="Sound of films: a voice is a face, too.")
]
Start = Annotated[float, typer.Option("--from", min=0, help="Films: seconds where the part of --trim begins.")]
End = Annotated[float | None, typer.Option("--to", help="Films: seconds where it ends.")]
Trim = Annotated[bool, typer.Option("--trim", help="Films: write only the part between --from and --to.")]
Every = Annotated[
    str,
    typer.Option(
        "--every",
        help="Films: look at every N-th frame; adaptive: at more where anything happens. With a policy: at all.",
    ),
]
Hold = Annotated[
    int | None,
    typer.Option(
        "--hold", help="Films: frames that a face stays covered after it was last found. Default: half a second."
    ),
]
LookAhead = Annotated[
    int | None,
    typer.Option(
        "--look-ahead", help="Films: frames that a face is covered before it is first found. Default: half a second."
    ),
]
Codec = Annotated[
    Literal["h264", "h265", "vp9", "av1"] | None,
    typer.Option("--codec", help="Of films. Default: what suits the container."),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Films: write what can be decoded of a damaged one, instead of refusing it.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there already.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Look for faces and say what would be done.")]
