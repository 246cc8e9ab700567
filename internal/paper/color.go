package paper

import (
	"math"
	"slices"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
)

// A page shows colour when its content, or that of the forms, patterns, glyphs and
// printed annotations it draws,
//
//   - sets a colour that is not gray: unequal red, green and blue; any cyan, magenta
//     or yellow; a Lab colour off the axis; any tint of a spot colour but Black and All;
//   - draws an image or a shading whose colour space has colours. Samples are not
//     looked at, so a gray photograph stored as RGB counts as colour. A palette is
//     looked at: one of grays only is gray.
//
// What cannot be decoded counts as colour: rather a page too many than one too few.
// A colour that is set and never painted with counts too; transfer functions, blend
// modes and hidden layers are not regarded.

const (
	maxForms     = 32 // forms within forms
	maxStates    = 512
	maxOperands  = 64
	maxSpaces    = 8 // colour spaces within colour spaces
	grayEpsilon  = 1.0/255 + 1e-6
	opsPerGlance = 4096 // operators between looks at the context
)

// space is a colour space as far as grayness goes.
type space struct {
	colors     bool // it has colours at all
	components int
	gray       func(c []float64) bool // whether a colour of it is gray
	base       *space                 // of a pattern: what uncoloured ones are painted in
}

var (
	graySpace = &space{components: 1, gray: func([]float64) bool { return true }}
	rgbSpace  = &space{colors: true, components: 3, gray: equal}
	cmykSpace = &space{colors: true, components: 4, gray: func(c []float64) bool { return none(c[:min(3, len(c))]) }}
	labSpace  = &space{colors: true, components: 3, gray: func(c []float64) bool { return len(c) == 3 && math.Abs(c[1]) < 1 && math.Abs(c[2]) < 1 }}
	otherwise = &space{colors: true, gray: equal}
)

func equal(c []float64) bool {
	return len(c) > 0 && slices.Max(c)-slices.Min(c) <= grayEpsilon
}

func none(c []float64) bool {
	return !slices.ContainsFunc(c, func(v float64) bool { return v > grayEpsilon })
}

// inks is the part of the graphics state that matters.
type inks struct{ fill, stroke *space }

var blackInk = inks{graySpace, graySpace}

func (d *document) pageShowsColor(page types.Dict) bool {
	p := &painter{d: d, resources: d.dict(page["Resources"]), now: blackInk}
	switch contents := d.resolve(page["Contents"]).(type) {
	case types.StreamDict:
		if p.paint(contents) {
			return true
		}
	case types.Array:
		for _, part := range contents {
			if s, ok := d.resolve(part).(types.StreamDict); ok && p.paint(s) {
				return true
			}
		}
	}
	return d.annotationsShowColor(page)
}

const (
	hiddenAnnotation  = 1 << 1
	printedAnnotation = 1 << 2
)

func (d *document) annotationsShowColor(page types.Dict) bool {
	annotations, _ := d.resolve(page["Annots"]).(types.Array)
	for _, o := range annotations {
		a := d.dict(o)
		flags, _ := d.number(a["F"])
		if int(flags)&(hiddenAnnotation|printedAnnotation) != printedAnnotation {
			continue
		}
		look := d.dict(a["AP"])["N"]
		if states, ok := d.resolve(look).(types.Dict); ok {
			look = states[d.name(a["AS"])]
		}
		if (&painter{d: d, now: blackInk}).form(look) {
			return true
		}
	}
	return false
}

// painter follows the drawing operators of one content and what it draws.
type painter struct {
	d         *document
	resources types.Dict
	now       inks
	saved     []inks
	depth     int

	numbers []float64 // operands since the last operator
	word    string    // the last name among them
	ops     int
}

// paint tells whether a content shows colour.
func (p *painter) paint(s types.StreamDict) bool {
	content, ok := p.d.decoded(s)
	if !ok {
		return true
	}
	l := &lexer{b: content}
	for {
		switch t := l.next(); t.kind {
		case 0:
			return false
		case 'n':
			if len(p.numbers) < maxOperands {
				p.numbers = append(p.numbers, t.number)
			}
		case '/':
			p.word = t.text
		case 'o':
			if p.givenUp() || p.operator(t.text, l) {
				return true
			}
			p.numbers, p.word = p.numbers[:0], ""
		}
	}
}

// givenUp tells whether the time is over. It looks now and then.
func (p *painter) givenUp() bool {
	if p.ops++; p.ops%opsPerGlance == 0 {
		p.d.err = p.d.ctx.Err()
	}
	return p.d.err != nil
}

// operator tells whether one operator shows colour.
func (p *painter) operator(op string, l *lexer) bool {
	switch op {
	case "q":
		if len(p.saved) < maxStates {
			p.saved = append(p.saved, p.now)
		}
	case "Q":
		if n := len(p.saved); n > 0 {
			p.now, p.saved = p.saved[n-1], p.saved[:n-1]
		}
	case "g":
		p.now.fill = graySpace
	case "G":
		p.now.stroke = graySpace
	case "rg":
		return p.set(&p.now.fill, rgbSpace)
	case "RG":
		return p.set(&p.now.stroke, rgbSpace)
	case "k":
		return p.set(&p.now.fill, cmykSpace)
	case "K":
		return p.set(&p.now.stroke, cmykSpace)
	case "cs":
		p.now.fill = p.d.space(types.Name(p.word), p.resources, 0)
	case "CS":
		p.now.stroke = p.d.space(types.Name(p.word), p.resources, 0)
	case "sc", "scn":
		return p.color(p.now.fill)
	case "SC", "SCN":
		return p.color(p.now.stroke)
	case "sh":
		return p.d.shading(p.resource("Shading"), p.resources)
	case "Do":
		return p.object(p.resource("XObject"))
	case "Tf":
		return p.font(p.resource("Font"))
	case "BI":
		return p.inlineImage(l)
	}
	return false
}

// resource is what the last name stands for.
func (p *painter) resource(kind string) types.Object {
	return p.d.dict(p.resources[kind])[p.word]
}

func (p *painter) set(ink **space, s *space) bool {
	*ink = s
	return p.color(s)
}

// color judges the colour that the operands are in a space.
func (p *painter) color(s *space) bool {
	if p.word != "" {
		return p.pattern(p.resource("Pattern"), s)
	}
	c := p.numbers
	if s.components > 0 && len(c) > s.components {
		c = c[len(c)-s.components:]
	}
	return len(c) > 0 && s.colors && !s.gray(c)
}

func (p *painter) pattern(o types.Object, s *space) bool {
	switch pattern := p.d.resolve(o).(type) {
	case types.Dict:
		return p.d.shading(pattern["Shading"], p.resources)
	case types.StreamDict:
		if kind, _ := p.d.number(pattern.Dict["PaintType"]); kind == 2 {
			return s.base != nil && len(p.numbers) > 0 && !s.base.gray(p.numbers)
		}
		return p.form(o)
	}
	return false
}

// object judges an image or a form.
func (p *painter) object(o types.Object) bool {
	s, ok := p.d.resolve(o).(types.StreamDict)
	switch {
	case !ok:
		return false
	case p.d.name(s.Dict["Subtype"]) == "Image":
		return p.d.image(s.Dict, p.resources)
	}
	return p.form(o)
}

func (d *document) image(image, resources types.Dict) bool {
	if mask, _ := d.resolve(image["ImageMask"]).(types.Boolean); bool(mask) {
		return false // painted in the current colour
	}
	of := d.resolve(image["ColorSpace"])
	return of == nil || d.space(of, resources, 0).colors
}

func (d *document) shading(o types.Object, resources types.Dict) bool {
	shading := d.dict(o)
	return shading != nil && d.space(shading["ColorSpace"], resources, 0).colors
}

// form judges a content of its own. What it has found out about one that brings
// its resources holds wherever that is drawn.
func (p *painter) form(o types.Object) bool {
	s, ok := p.d.resolve(o).(types.StreamDict)
	if !ok {
		return false
	}
	if p.depth >= maxForms {
		return true
	}
	inner := &painter{d: p.d, resources: p.d.dict(s.Dict["Resources"]), now: p.now, depth: p.depth + 1}
	if inner.resources == nil {
		inner.resources = p.resources
		return inner.paint(s)
	}
	return p.d.once(o, func() bool { return inner.paint(s) })
}

// font judges the glyphs of a font that draws them by operators.
func (p *painter) font(o types.Object) bool {
	font := p.d.dict(o)
	if font == nil || p.d.name(font["Subtype"]) != "Type3" || p.depth >= maxForms {
		return false
	}
	return p.d.once(o, func() bool {
		resources := p.d.dict(font["Resources"])
		if resources == nil {
			resources = p.resources
		}
		for _, glyph := range p.d.dict(font["CharProcs"]) {
			s, ok := p.d.resolve(glyph).(types.StreamDict)
			if ok && (&painter{d: p.d, resources: resources, now: p.now, depth: p.depth + 1}).paint(s) {
				return true
			}
		}
		return false
	})
}

// once judges an object that is referred to only once. One that draws itself
// counts as gray while it is being judged.
func (d *document) once(o types.Object, judge func() bool) bool {
	ref, ok := o.(types.IndirectRef)
	if !ok {
		return judge()
	}
	number := ref.ObjectNumber.Value()
	if known, ok := d.known[number]; ok {
		return known
	}
	d.known[number] = false
	d.known[number] = judge()
	return d.known[number]
}

// inlineImage judges an image within a content and passes it.
func (p *painter) inlineImage(l *lexer) bool {
	var names []string // of the colour space
	mask, key := false, ""
	depth := 0
	for {
		t := l.next()
		switch {
		case t.kind == 0:
			return false
		case t.kind == 'o' && t.text == "ID":
			l.skipImage()
			return !mask && p.inlineColors(names)
		case t.kind == '[':
			depth++
		case t.kind == ']':
			depth--
		case t.kind == '/' && key == "":
			key = t.text
			continue
		case t.kind == '/' && (key == "CS" || key == "ColorSpace"):
			names = append(names, t.text)
		case t.kind == 'o' && (key == "IM" || key == "ImageMask"):
			mask = t.text == "true"
		}
		if depth <= 0 {
			key = ""
		}
	}
}

// inlineColors judges the names of an inline image's colour space, such as RGB, or
// Indexed and RGB. Without one an image is gray, or a mask.
func (p *painter) inlineColors(names []string) bool {
	for _, name := range names {
		if name != "I" && name != "Indexed" && p.d.space(types.Name(name), p.resources, 0).colors {
			return true
		}
	}
	return false
}
