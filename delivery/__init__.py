"""HTTP: viewers get media, cues and pages; producers get an API; monitoring gets metrics."""
