package paper

import (
	"bytes"
	"context"
	"fmt"
	goimage "image"
	imagecolor "image/color"
	"image/draw"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// script makes a program that stands in for a converter. It finds the folder of the
// test in $dir, what to convert in $in, and where the PDF is due in $out.
func script(t *testing.T, body string) (program, dir string) {
	dir = t.TempDir()
	program = filepath.Join(dir, "soffice")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\ndir='"+dir+"'\n"+
		`for in in "$@"; do :; done; out="${in%.*}.pdf"`+"\n"+body), 0o700))
	return program, dir
}

func upload(t *testing.T, name, content string) string {
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func empty(t *testing.T, dir string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestClassify(t *testing.T) {
	for name, want := range map[string]Class{"a.pdf": PDF, ".PDF": PDF, "x.prn": Raw, "x.pcl": Raw, ".ps": Raw, "Q3.v2.docx": Office, "a.TXT": Office, ".jpeg": Office} {
		class, mime, err := Classify(name)
		require.NoError(t, err, name)
		require.Equal(t, want, class, name)
		require.Contains(t, mime, "/", name)
	}
	for _, name := range []string{"", "pdf", "x.exe", "x.pdf.zip", "."} {
		class, _, err := Classify(name)
		require.ErrorIs(t, err, ErrFormat, name)
		require.Equal(t, Unknown, class)
		require.Contains(t, Reason(err), "accepted are bmp, csv,")
	}
}

func TestNoConverter(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c := FindConverter(Options{})
	require.ErrorIs(t, c.Available(), ErrNoConverter)
	_, err := c.Convert(t.Context(), "x", ".docx", t.TempDir())
	require.ErrorIs(t, err, ErrNoConverter)
	require.Equal(t, "LibreOffice, which converts documents to PDF, is not installed on the server", Reason(err))
	_, _, err = FindRenderer(Options{Program: "/nowhere/gs"}).Render(t.Context(), "x", LanguagePS, false, t.TempDir())
	require.ErrorIs(t, err, ErrNoConverter)
}

func TestConvert(t *testing.T) {
	t.Setenv("DOCKET_SECRET_KEY", "hidden")
	program, dir := script(t, `printf '%s\n' "$@" >"$dir/args"; env >"$dir/env"; { echo "converted"; cat "$in"; } >"$out"`)
	temp, out := t.TempDir(), t.TempDir()
	c := FindConverter(Options{Program: program, TempDir: temp})
	require.NoError(t, c.Available())
	require.Equal(t, program, c.Path())
	path, err := c.Convert(t.Context(), upload(t, "upload", "text"), ".TXT", out)
	require.NoError(t, err)
	require.Equal(t, out, filepath.Dir(path))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "converted\ntext", string(data))
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	require.NoError(t, err)
	require.Contains(t, string(args), "-env:UserInstallation=file://"+temp)
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	require.NoError(t, err)
	require.NotContains(t, string(env), "hidden")
	empty(t, temp)
	for _, extension := range []string{".pdf", ".prn", ".exe", "../x.txt/..", ""} {
		_, err = c.Convert(t.Context(), path, extension, out)
		require.ErrorIs(t, err, ErrFormat, extension)
	}
}

func TestConversionFails(t *testing.T) {
	for body, kind := range map[string]error{
		"echo 'source file could not be loaded' >&2": ErrConversion, "echo no such filter >&2; exit 7": ErrConversion,
		": >$out": ErrConversion, "kill -9 $$": ErrConversion,
	} {
		program, _ := script(t, body)
		temp, out := t.TempDir(), t.TempDir()
		_, err := FindConverter(Options{Program: program, TempDir: temp}).Convert(t.Context(), upload(t, "x", ""), ".txt", out)
		require.ErrorIs(t, err, kind, body)
		requireTyped(t, err, body)
		empty(t, temp)
		empty(t, out)
	}
}

// What the program has started ends with it: the test would wait for its output.
func TestConversionTakesTooLong(t *testing.T) {
	program, _ := script(t, `echo begun >"$dir/begun"; sleep 1000 & wait`)
	temp := t.TempDir()
	began := time.Now()
	c := FindConverter(Options{Program: program, TempDir: temp, Timeout: 200 * time.Millisecond})
	_, err := c.Convert(t.Context(), upload(t, "x", ""), ".txt", t.TempDir())
	require.ErrorIs(t, err, ErrTimeout)
	require.Equal(t, "the conversion to PDF took longer than 200ms", Reason(err))
	empty(t, temp)

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	c = FindConverter(Options{Program: program, TempDir: temp})
	_, err = c.Convert(ctx, upload(t, "x", ""), ".txt", t.TempDir())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), killDelay)
}

func TestOneConversionAtATime(t *testing.T) {
	// mkdir fails if another one is at work.
	program, _ := script(t, `mkdir "$dir/busy" || exit 1; cat "$in" >"$out"; rmdir "$dir/busy"`)
	c := FindConverter(Options{Program: program})
	in, out := upload(t, "x", "text"), t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Convert(context.Background(), in, ".txt", out); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// Whoever waits for a turn waits no longer than its context.
	release, err := c.program.acquire(t.Context())
	require.NoError(t, err)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Convert(ctx, in, ".txt", out)
	require.ErrorIs(t, err, context.Canceled)
}

func TestRender(t *testing.T) {
	program, dir := script(t, `printf '%s\n' "$@" >"$dir/args"; while [ "$1" != -o ]; do shift; done; cat "$in" >"$2"`)
	r := FindRenderer(Options{Program: program})
	in := upload(t, "x.pdf", "content")
	for _, c := range []struct {
		to   Language
		gray bool
		args string
		mime string
	}{
		{LanguagePDF, true, "-sDEVICE=pdfwrite -sColorConversionStrategy=Gray -dProcessColorModel=/DeviceGray", "application/pdf"},
		{LanguagePS, false, "-sDEVICE=ps2write -o", "application/postscript"},
		{LanguagePCL6, false, "-sDEVICE=pxlcolor -o", "application/vnd.hp-PCLXL"}, {LanguagePCL6, true, "-sDEVICE=pxlmono -o", "application/vnd.hp-PCLXL"},
	} {
		path, mime, err := r.Render(t.Context(), in, c.to, c.gray, t.TempDir())
		require.NoError(t, err)
		require.Equal(t, c.mime, mime)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "content", string(data))
		args, err := os.ReadFile(filepath.Join(dir, "args"))
		require.NoError(t, err)
		require.Contains(t, strings.Join(strings.Fields(string(args)), " "), c.args)
		require.Contains(t, string(args), "-dSAFER")
	}
	_, _, err := r.Render(t.Context(), in, "tiff", false, t.TempDir())
	require.ErrorIs(t, err, ErrFormat)
}

// installed finds a program or skips the test.
func installed(t *testing.T, debian string, names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("NOT TESTED: %s is not installed (Debian package %s)", names[0], debian)
	return ""
}

func TestLibreOffice(t *testing.T) {
	c := FindConverter(Options{Program: installed(t, "libreoffice-writer-nogui", "soffice", "libreoffice")})
	html := `<html><body><p style="color:red">red</p><p style="page-break-before:always">black</p></body></html>`
	path, err := c.Convert(t.Context(), upload(t, "x", html), ".html", t.TempDir())
	require.NoError(t, err)
	info, err := Analyse(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, 2, info.Pages)
	require.Equal(t, 1, info.ColorPages)
	path, err = c.Convert(t.Context(), upload(t, "x", strings.Repeat("a line of text\n", 200)), ".txt", t.TempDir())
	require.NoError(t, err)
	info, err = Analyse(t.Context(), path)
	require.NoError(t, err)
	require.Greater(t, info.Pages, 2)
	require.Zero(t, info.ColorPages)
}

// A document must not make the server fetch anything: addresses within its network,
// or files on its disk.
func TestLibreOfficeFetchesNothing(t *testing.T) {
	c := FindConverter(Options{Program: installed(t, "libreoffice-writer-nogui", "soffice", "libreoffice")})
	var fetched atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer web.Close()
	var image bytes.Buffer
	red := imagecolor.RGBA{R: 255, A: 255}
	picture := goimage.NewRGBA(goimage.Rect(0, 0, 50, 50))
	draw.Draw(picture, picture.Bounds(), goimage.NewUniform(red), goimage.Point{}, draw.Src)
	require.NoError(t, png.Encode(&image, picture))
	onDisk := upload(t, "secret.png", image.String())
	for _, source := range []string{web.URL + "/x.png", "file://" + onDisk} {
		path, err := c.Convert(t.Context(), upload(t, "x", `<html><body><p>text</p><img width="50" height="50" src="`+source+`"></body></html>`), ".html", t.TempDir())
		require.NoError(t, err)
		info, err := Analyse(t.Context(), path)
		require.NoError(t, err)
		require.Zero(t, info.ColorPages, source)
	}
	require.Zero(t, fetched.Load())
}

func TestGhostscript(t *testing.T) {
	r := FindRenderer(Options{Program: installed(t, "ghostscript", "gs")})
	in := write(t, pdfOf("", nil, sheet{content: "1 0 0 rg 10 10 100 100 re f"}, sheet{content: "0 0 1 RG 10 10 100 100 re S"}))
	path, _, err := r.Render(t.Context(), in, LanguagePDF, true, t.TempDir())
	require.NoError(t, err)
	info, err := Analyse(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, Info{Pages: 2, ColorPages: 0, Paper: "A4"}, info)
	path, _, err = r.Render(t.Context(), in, LanguagePDF, false, t.TempDir())
	require.NoError(t, err)
	info, err = Analyse(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, Info{Pages: 2, ColorPages: 2, Paper: "A4"}, info)
	for to, start := range map[Language]string{LanguagePS: "%!PS", LanguagePCL6: "\x1b%-12345X"} {
		path, _, err := r.Render(t.Context(), in, to, false, t.TempDir())
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(data), start), fmt.Sprintf("%s begins with %q", to, data[:20]))
	}
	_, _, err = r.Render(t.Context(), upload(t, "x.pdf", "no PDF"), LanguagePS, false, t.TempDir())
	require.ErrorIs(t, err, ErrConversion)
}
