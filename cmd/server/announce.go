package server

import (
	"fmt"
	"io"
)

// Announce tells a person where to go next.
func (s *Server) Announce(w io.Writer) {
	if s.Addr() == "" {
		fmt.Fprintln(w, "Docket runs; this process answers no requests (DOCKET_ROLES).")
		return
	}
	base := "http://" + s.Addr()
	fmt.Fprintf(w, "\nDocket listens on %s\n", base)
	for _, api := range s.site.APIs {
		d := api.Dialect()
		if d.OwnListener {
			fmt.Fprintf(w, "  %-22s %s, documented at %s%s/docs\n", d.Title, s.safeqAddress(base), base, d.Prefix)
			continue
		}
		fmt.Fprintf(w, "  %-22s %s%s, documented at %s%s/docs\n", d.Title, base, d.Base, base, d.Prefix)
	}
	if s.config.BootstrapKey == "" {
		fmt.Fprintf(w, "The first administrator's API key is in %s:\n  curl -H \"Authorization: Bearer $(cat %[1]s)\" %s/api/v2/users/profile\n", KeyFile(s.config.DataDir), base)
	} else {
		fmt.Fprintln(w, "The first administrator's API key is the one in DOCKET_BOOTSTRAP_KEY.")
	}
}
