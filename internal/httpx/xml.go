package httpx

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

const xmlType = "application/xml; charset=utf-8"

// prefersXML tells whether an Accept header puts XML before JSON.
func prefersXML(accept []string) bool {
	var forXML, forJSON float64
	for _, header := range accept {
		for one := range strings.SplitSeq(header, ",") {
			media, parameters, err := mime.ParseMediaType(strings.TrimSpace(one))
			if err != nil {
				continue
			}
			q := 1.0
			if text, ok := parameters["q"]; ok {
				if q, err = strconv.ParseFloat(text, 64); err != nil {
					continue
				}
			}
			switch media {
			case "application/xml", "text/xml":
				forXML = max(forXML, q)
			case "application/json", "application/*", "*/*":
				forJSON = max(forJSON, q)
			}
		}
	}
	return forXML > 0 && forXML >= forJSON
}

// xmlWriter holds an answer back to send it as XML. What is no JSON passes.
type xmlWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *xmlWriter) WriteHeader(status int) { w.status = status }

func (w *xmlWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

// finish sends the answer.
func (w *xmlWriter) finish() error {
	h := w.Header()
	body := w.body.Bytes()
	if len(body) > 0 && isJSON(h.Get("Content-Type")) {
		var err error
		if body, err = asXML(body); err != nil {
			return err
		}
		h.Set("Content-Type", xmlType)
	}
	if len(body) > 0 {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	if len(body) > 0 {
		// A client that is gone cannot be told.
		_, _ = w.ResponseWriter.Write(body)
	}
	return nil
}

// asXML writes a JSON text as XML: the root is <response>, a member is an element
// of its name, an entry of a list an <item>, and null is left out.
func asXML(data []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out bytes.Buffer
	out.WriteString(xml.Header)
	x := xmlOf{d, &out}
	if err := x.value("response"); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

type xmlOf struct {
	*json.Decoder
	out *bytes.Buffer
}

func (x xmlOf) value(name string) error {
	token, err := x.Token()
	if err != nil {
		return err
	}
	if token == nil && name != "response" {
		return nil
	}
	x.out.WriteString("<" + name + ">")
	switch v := token.(type) {
	case json.Delim:
		err = x.inside(v == '{')
	case string:
		err = xml.EscapeText(x.out, []byte(v))
	case json.Number:
		x.out.WriteString(v.String())
	case bool:
		x.out.WriteString(strconv.FormatBool(v))
	}
	x.out.WriteString("</" + name + ">")
	return err
}

func (x xmlOf) inside(object bool) error {
	for x.More() {
		name := "item"
		if object {
			token, err := x.Token()
			if err != nil {
				return err
			}
			name = elementName(token.(string))
		}
		if err := x.value(name); err != nil {
			return err
		}
	}
	_, err := x.Token() // the closing bracket
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// elementName replaces what no name of an element may hold.
func elementName(name string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			return r
		}
		return '_'
	}, name)
	if clean == "" || clean[0] == '-' || clean[0] == '.' || clean[0] >= '0' && clean[0] <= '9' {
		clean = "_" + clean
	}
	return clean
}
