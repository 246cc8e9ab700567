//go:build unix

// Package printertest runs CUPS' reference IPP printer for tests.
package printertest

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// program finds a program or skips the test.
func program(t testing.TB, name, debian string) string {
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skipf("NOT TESTED: %s is not installed (Debian package %s)", name, debian)
	return ""
}

// start runs a program, and what it starts, until the test ends.
func start(t testing.TB, cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

// Eve runs an IPP printer until the test ends and gives its address (ipp://...). It
// prints each document by a shell script that gets the document's file as $1. The
// test is skipped, and says so, where ippeveprinter or dbus-daemon is not installed:
// ippeveprinter wants to announce itself by way of D-Bus, so it gets a bus of its
// own, on which nobody listens.
func Eve(t testing.TB, script string, args ...string) string {
	eve, daemon := program(t, "ippeveprinter", "cups-ipp-utils"), program(t, "dbus-daemon", "dbus-daemon")
	dir, err := os.MkdirTemp("", "eve") // a socket's path must be short
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	bus := "unix:path=" + filepath.Join(dir, "bus")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bus.conf"), []byte(`<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>`+bus+`</listen><policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`), 0o600))
	ready := exec.Command(daemon, "--config-file="+filepath.Join(dir, "bus.conf"), "--nofork", "--print-address")
	out, err := ready.StdoutPipe()
	require.NoError(t, err)
	start(t, ready)
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "the bus did not start")

	command, spool := filepath.Join(dir, "print"), filepath.Join(dir, "spool")
	require.NoError(t, os.WriteFile(command, []byte("#!/bin/sh\n"+script), 0o700))
	require.NoError(t, os.Mkdir(spool, 0o700))
	port := freePort(t)
	printer := exec.Command(eve, append(args, "-f", "application/pdf", "-p", port, "-d", spool, "-n", "localhost", "-r", "off", "-c", command, "Docket Test")...)
	printer.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+bus)
	start(t, printer)
	awaitHTTP(t, "http://127.0.0.1:"+port)
	return "ipp://127.0.0.1:" + port + "/ipp/print"
}

func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// awaitHTTP waits until a server answers anything.
func awaitHTTP(t testing.TB, url string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	require.Eventually(t, func() bool {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		require.NoError(t, err)
		answer, err := client.Do(request)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return true
	}, 30*time.Second, 50*time.Millisecond, "the printer did not start")
}
