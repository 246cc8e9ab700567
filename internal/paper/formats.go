package paper

import (
	"path/filepath"
	"slices"
	"strings"
)

// Class says what has to happen to a document before it can be printed.
type Class uint8

const (
	Unknown Class = iota // refused
	PDF                  // analysed and printed as it is
	Raw                  // a printer language: printed as it is, not analysed
	Office               // converted to PDF first
)

type format struct {
	class Class
	mime  string
}

const openXML = "application/vnd.openxmlformats-officedocument."

var formats = map[string]format{
	".pdf": {PDF, "application/pdf"},
	".ps":  {Raw, "application/postscript"}, ".eps": {Raw, "application/postscript"},
	".pcl": {Raw, "application/vnd.hp-PCL"}, ".pxl": {Raw, "application/vnd.hp-PCLXL"},
	".prn": {Raw, "application/octet-stream"},

	".doc": {Office, "application/msword"}, ".docx": {Office, openXML + "wordprocessingml.document"},
	".odt": {Office, "application/vnd.oasis.opendocument.text"}, ".rtf": {Office, "application/rtf"},
	".txt": {Office, "text/plain"}, ".csv": {Office, "text/csv"},
	".xls": {Office, "application/vnd.ms-excel"}, ".xlsx": {Office, openXML + "spreadsheetml.sheet"},
	".ods": {Office, "application/vnd.oasis.opendocument.spreadsheet"},
	".ppt": {Office, "application/vnd.ms-powerpoint"}, ".pptx": {Office, openXML + "presentationml.presentation"},
	".odp": {Office, "application/vnd.oasis.opendocument.presentation"}, ".odg": {Office, "application/vnd.oasis.opendocument.graphics"},
	".htm": {Office, "text/html"}, ".html": {Office, "text/html"},
	".png": {Office, "image/png"}, ".jpg": {Office, "image/jpeg"}, ".jpeg": {Office, "image/jpeg"},
	".tif": {Office, "image/tiff"}, ".tiff": {Office, "image/tiff"}, ".bmp": {Office, "image/bmp"},
	".gif": {Office, "image/gif"}, ".svg": {Office, "image/svg+xml"}, ".webp": {Office, "image/webp"},
}

// Classify tells by a file's name or extension ("report.docx", ".docx") what has
// to happen to it and its media type. Errors: *Error of ErrFormat.
func Classify(name string) (Class, string, error) {
	f, ok := formats[strings.ToLower(filepath.Ext(name))]
	if !ok {
		return Unknown, "", &Error{Kind: ErrFormat, Reason: "files of this type cannot be printed; " + Accepted()}
	}
	return f.class, f.mime, nil
}

// Accepted lists the extensions that can be printed, for people.
func Accepted() string {
	all := make([]string, 0, len(formats))
	for extension := range formats {
		all = append(all, extension[1:])
	}
	slices.Sort(all)
	return "accepted are " + strings.Join(all, ", ")
}
