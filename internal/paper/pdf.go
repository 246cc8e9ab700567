package paper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

const (
	maxPages     = 100_000
	maxNodes     = 4 * maxPages // of the page tree
	maxTreeDepth = 64
	maxDecoded   = 32 << 20 // bytes of one stream
)

// configuration lets the library read, within limits that it checks before it
// allocates, and keeps it off the network.
func configuration() *model.Configuration {
	api.DisableConfigDir() // else it writes into the home folder
	c := model.NewDefaultConfiguration()
	c.Cmd = model.LISTINFO
	c.Offline = true
	c.ValidationMode = model.ValidationRelaxed
	c.Limits.MaxDecodeBytes = maxDecoded
	c.Limits.MaxObjectCount = 2_000_000
	c.Limits.MaxXRefEntries = 2_000_000
	return c
}

// document is a PDF that is being looked at.
type document struct {
	ctx   context.Context
	pdf   *model.Context
	nodes int          // of the page tree, seen so far
	known map[int]bool // by object number: whether a form, pattern or font shows colour
	err   error        // why looking for colour was given up
}

// read analyses a PDF. It never panics: the library does on some damaged files.
func read(ctx context.Context, file io.ReadSeeker) (info Info, err error) {
	defer func() {
		if r := recover(); r != nil {
			info, err = Info{}, damaged(fmt.Errorf("panic: %v", r))
		}
	}()
	pdf, err := pdfcpu.ReadWithContext(ctx, file, configuration())
	if err != nil {
		if ctx.Err() != nil {
			return Info{}, ctx.Err()
		}
		return Info{}, unreadable(err)
	}
	if pdf.E != nil && !mayPrint(pdf.E) {
		return Info{}, &Error{Kind: ErrEncrypted, Reason: "the PDF's author does not allow printing it"}
	}
	d := &document{ctx: ctx, pdf: pdf, known: map[int]bool{}}
	if err := d.pages(&info); err != nil {
		return Info{}, err
	}
	if info.Pages == 0 {
		return Info{}, &Error{Kind: ErrDamaged, Reason: "the PDF has no pages"}
	}
	return info, nil
}

// unreadable says what the library's failure means to the user.
func unreadable(err error) *Error {
	switch {
	case errors.Is(err, pdfcpu.ErrWrongPassword), errors.Is(err, pdfcpu.ErrOwnerPasswordRequired):
		return &Error{ErrEncrypted, "the PDF is protected by a password", err}
	case errors.Is(err, pdfcpu.ErrUnsupportedEncryptionFeature), errors.Is(err, pdfcpu.ErrMalformedEncryption), errors.Is(err, pdfcpu.ErrPermissionDenied):
		return &Error{ErrEncrypted, "the PDF is encrypted in a way that cannot be read", err}
	case errors.Is(err, pdfcpu.ErrPostScriptInput), errors.Is(err, pdfcpu.ErrEmptyInput):
		return &Error{ErrNotPDF, "the file is not a PDF", err}
	}
	return damaged(err)
}

func damaged(cause error) *Error {
	return &Error{ErrDamaged, "the PDF is damaged and cannot be read", cause}
}

// mayPrint tells whether a PDF that opens without a password allows printing.
func mayPrint(e *model.Enc) bool { return e.P&(1<<2) != 0 }

// pages counts the pages of the document, those with colour, and takes the first's size.
func (d *document) pages(info *Info) error {
	catalog, err := d.pdf.Catalog()
	if err != nil {
		return damaged(err)
	}
	root := d.dict(catalog["Pages"])
	if root == nil {
		return damaged(errors.New("no page tree"))
	}
	return d.walk(root, types.Dict{}, 0, func(page types.Dict) error {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if info.Pages++; info.Pages > maxPages {
			return &Error{Kind: ErrTooComplex, Reason: fmt.Sprintf("the PDF has more than %d pages", maxPages)}
		}
		if info.Pages == 1 {
			info.Paper = d.paperOf(page)
		}
		if d.pageShowsColor(page) {
			info.ColorPages++
		}
		return d.err
	})
}

// inherited are the entries that a page takes from the nodes above it.
var inherited = []string{"Resources", "MediaBox"}

// walk visits the pages below a node, each with what it inherits. It counts nodes
// rather than remembering them, since a page may stand in the tree twice.
func (d *document) walk(node, above types.Dict, depth int, visit func(types.Dict) error) error {
	if depth > maxTreeDepth {
		return damaged(errors.New("page tree too deep"))
	}
	if d.nodes++; d.nodes > maxNodes {
		return &Error{Kind: ErrTooComplex, Reason: "the PDF has too many pages"}
	}
	all := types.Dict{}
	for key, value := range node {
		all[key] = value
	}
	for _, key := range inherited {
		if all[key] == nil && above[key] != nil {
			all[key] = above[key]
		}
	}
	kids, isNode := d.resolve(node["Kids"]).(types.Array)
	if !isNode {
		if d.name(node["Type"]) == "Pages" {
			return nil
		}
		return visit(all)
	}
	for _, kid := range kids {
		if child := d.dict(kid); child != nil {
			if err := d.walk(child, all, depth+1, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// paperOf names the size of a page.
func (d *document) paperOf(page types.Dict) string {
	box := d.numbers(page["MediaBox"])
	if len(box) != 4 {
		return "Letter" // what renderers take for a page without a size
	}
	unit := 1.0
	if u, ok := d.number(page["UserUnit"]); ok && u > 0 {
		unit = u
	}
	width, height := math.Abs(box[2]-box[0])*unit, math.Abs(box[3]-box[1])*unit
	if !(width >= 1 && height >= 1 && width < 1e6 && height < 1e6) {
		return "Letter"
	}
	return paperName(min(width, height), max(width, height))
}

// resolve follows references. What cannot be had is nil, as for readers of PDF.
func (d *document) resolve(o types.Object) types.Object {
	for range 8 {
		if _, is := o.(types.IndirectRef); !is {
			return o
		}
		next, err := d.pdf.Dereference(o)
		if err != nil {
			return nil
		}
		o = next
	}
	return nil
}

// dict is a dictionary, also that of a stream; nil if it is none.
func (d *document) dict(o types.Object) types.Dict {
	switch o := d.resolve(o).(type) {
	case types.Dict:
		return o
	case types.StreamDict:
		return o.Dict
	}
	return nil
}

func (d *document) name(o types.Object) string {
	n, _ := d.resolve(o).(types.Name)
	return string(n)
}

func (d *document) number(o types.Object) (float64, bool) {
	switch o := d.resolve(o).(type) {
	case types.Integer:
		return float64(o), true
	case types.Float:
		return float64(o), true
	}
	return 0, false
}

func (d *document) numbers(o types.Object) []float64 {
	array, _ := d.resolve(o).(types.Array)
	out := make([]float64, 0, 4)
	for _, item := range array {
		n, ok := d.number(item)
		if !ok {
			return nil
		}
		out = append(out, n)
	}
	return out
}

// decoded is the content of a stream that consists of drawing operators or of a
// palette; not ok if it cannot be had.
func (d *document) decoded(s types.StreamDict) (content []byte, ok bool) {
	for _, f := range s.FilterPipeline {
		switch f.Name {
		case "FlateDecode", "LZWDecode", "ASCII85Decode", "ASCIIHexDecode", "RunLengthDecode", "Crypt":
		default:
			return nil, false
		}
	}
	if err := s.DecodeWithLimit(maxDecoded); err != nil { // s is a copy, so nothing is kept
		return nil, false
	}
	return s.Content, true
}
