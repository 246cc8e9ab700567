package server

import (
	"cmp"
	"runtime/debug"
)

// version is set by the build (-ldflags "-X docket/cmd/server.version=v1.2.3").
var version string

// Version is the program's version as the build recorded it.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return cmp.Or(info.Main.Version, "unknown")
}
