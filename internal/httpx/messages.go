package httpx

import (
	"docket/domain/fault"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
)

// requiredMark begins the message about a missing member, so that the member can
// be named as the field: huma reports it at the object that lacks it.
const requiredMark = "is required: "

// The words of validation, for clients. huma keeps them in variables; they are
// the same for every dialect.
func init() {
	huma.DefaultArrayNullable = false
	huma.NewErrorWithContext = fromHuma
	validation.MsgUnexpectedProperty = "is not known here"
	validation.MsgExpectedRFC3339DateTime = "must be an RFC 3339 date-time"
	validation.MsgExpectedRFC1123DateTime = "must be an RFC 1123 date-time"
	validation.MsgExpectedRFC3339Date = "must be a date (YYYY-MM-DD)"
	validation.MsgExpectedRFC3339Time = "must be a time (hh:mm:ss)"
	validation.MsgExpectedRFC5322Email = "must be an e-mail address (%v)"
	validation.MsgExpectedRFC5890Hostname = "must be a host name"
	validation.MsgExpectedRFC2673IPv4 = "must be an IPv4 address"
	validation.MsgExpectedRFC2373IPv6 = "must be an IPv6 address"
	validation.MsgExpectedRFCIPAddr = "must be an IP address"
	validation.MsgExpectedRFC3986URI = "must be a URI (%v)"
	validation.MsgExpectedRFC4122UUID = "must be a UUID (%v)"
	validation.MsgExpectedRegexp = "must be a regular expression (%v)"
	validation.MsgExpectedMatchAtLeastOneSchema = "matches none of the documented forms"
	validation.MsgExpectedMatchExactlyOneSchema = "must match exactly one of the documented forms"
	validation.MsgExpectedNotMatchSchema = "has a form that is not allowed"
	validation.MsgExpectedPropertyNameInObject = "must be present"
	validation.MsgExpectedBoolean = "must be true or false"
	validation.MsgExpectedDuration = "must be a duration (%v)"
	validation.MsgExpectedNumber = "must be a number"
	validation.MsgExpectedInteger = "must be a whole number"
	validation.MsgExpectedString = "must be a string"
	validation.MsgExpectedBase64String = "must be base64"
	validation.MsgExpectedArray = "must be an array"
	validation.MsgExpectedObject = "must be an object"
	validation.MsgExpectedArrayItemsUnique = "must not hold an item twice"
	validation.MsgExpectedOneOf = "must be one of: %s"
	validation.MsgExpectedMinimumNumber = "must be at least %v"
	validation.MsgExpectedExclusiveMinimumNumber = "must be greater than %v"
	validation.MsgExpectedMaximumNumber = "must be at most %v"
	validation.MsgExpectedExclusiveMaximumNumber = "must be less than %v"
	validation.MsgExpectedNumberBeMultipleOf = "must be a multiple of %v"
	validation.MsgExpectedMinLength = "must have at least %d characters"
	validation.MsgExpectedMaxLength = "must have at most %d characters"
	validation.MsgExpectedBePattern = "must be %s"
	validation.MsgExpectedMatchPattern = "must match %s"
	validation.MsgExpectedMinItems = "must hold at least %d items"
	validation.MsgExpectedMaxItems = "must hold at most %d items"
	validation.MsgExpectedMinProperties = "must have at least %d members"
	validation.MsgExpectedMaxProperties = "must have at most %d members"
	validation.MsgExpectedRequiredProperty = requiredMark + "%s"
	validation.MsgExpectedDependentRequiredProperty = requiredMark + "%s (because of %s)"
}

// field translates one detail of huma's. Its location begins with the part of
// the request: "body.name", "body[0].id", "query.page".
func field(d *huma.ErrorDetail) fault.Field {
	in, path := d.Location, ""
	if i := strings.IndexAny(d.Location, ".["); i >= 0 {
		in, path = d.Location[:i], strings.TrimPrefix(d.Location[i:], ".")
	}
	message := d.Message
	if name, ok := strings.CutPrefix(message, requiredMark); ok {
		name, reason, _ := strings.Cut(name, " ")
		path, message = join(path, name), strings.TrimSpace("is required "+reason)
	}
	return fault.Field{Path: path, In: in, Message: message}
}

// join appends a member's name to a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
