package readmodels

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Entities are the one thing that is written fifty times in an answer, and their attributes
// come from the database as JSON. encoding/json would read every byte of them again to write
// it, which was half of what a page cost. The bytes are those that it would write, without
// escapes for HTML (TestEntitiesAreWrittenAsEncodingJSONWrites).

// entityBytes are those of an entity beside its attributes, as a rule; more only costs a copy.
const entityBytes = 400

// AppendJSON appends the page.
func (p EntityPage) AppendJSON(to []byte) []byte {
	size := entityBytes
	for i := range p.Items {
		size += entityBytes + len(p.Items[i].Attributes)
	}
	to = append(slices.Grow(to, size), `{"items":`...)
	if p.Items == nil {
		to = append(to, "null"...)
	} else {
		to = append(to, '[')
		for i := range p.Items {
			if i > 0 {
				to = append(to, ',')
			}
			to = p.Items[i].AppendJSON(to)
		}
		to = append(to, ']')
	}
	to = appendStringOrNull(append(to, `,"next_cursor":`...), p.NextCursor)
	if p.Count != nil {
		to = strconv.AppendInt(append(to, `,"count":`...), *p.Count, 10)
	}
	if p.Truncated {
		to = append(to, `,"truncated":true`...)
	}
	return append(to, '}')
}

// AppendJSON appends the entity.
func (e Entity) AppendJSON(to []byte) []byte {
	to = append(append(to, `{"id":"`...), e.ID.String()...)
	to = appendString(append(to, `","type":`...), e.Type)
	to = appendStringOrNull(append(to, `,"key":`...), e.Key)
	to = appendString(append(to, `,"status":`...), e.Status)
	to = appendCompact(append(to, `,"attributes":`...), e.Attributes)
	to = append(to, `,"tags":`...)
	to = appendStrings(to, e.Tags)
	to = strconv.AppendInt(append(to, `,"version":`...), e.Version, 10)
	to = strconv.AppendInt(append(to, `,"type_version":`...), e.TypeVersion, 10)
	to = appendTime(append(to, `,"created_at":`...), e.CreatedAt)
	to = appendString(append(to, `,"created_by":`...), e.CreatedBy)
	to = appendTime(append(to, `,"updated_at":`...), e.UpdatedAt)
	to = appendString(append(to, `,"updated_by":`...), e.UpdatedBy)
	return append(to, '}')
}

func appendStrings(to []byte, texts []string) []byte {
	if texts == nil {
		return append(to, "null"...)
	}
	to = append(to, '[')
	for i, text := range texts {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendString(to, text)
	}
	return append(to, ']')
}

func appendStringOrNull(to []byte, text *string) []byte {
	if text == nil {
		return append(to, "null"...)
	}
	return appendString(to, *text)
}

// appendString leaves to encoding/json what is not written as it is.
func appendString(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return appendEscaped(to, text)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

func appendEscaped(to []byte, text string) []byte {
	buffer := bytes.NewBuffer(to)
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always can be
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
}

func appendTime(to []byte, at time.Time) []byte {
	return append(at.AppendFormat(append(to, '"'), time.RFC3339Nano), '"')
}

// appendCompact appends JSON that the database wrote, or encoding/json, without the spaces
// between its parts.
func appendCompact(to, text []byte) []byte {
	if len(text) == 0 {
		return append(to, "null"...)
	}
	for len(text) > 0 {
		opening := bytes.IndexByte(text, '"')
		if opening < 0 {
			return appendWithoutSpaces(to, text)
		}
		to = appendWithoutSpaces(to, text[:opening])
		end := opening + stringLength(text[opening:])
		to = append(to, text[opening:end]...)
		text = text[end:]
	}
	return to
}

// appendWithoutSpaces appends what is no string.
func appendWithoutSpaces(to, text []byte) []byte {
	for _, c := range text {
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			to = append(to, c)
		}
	}
	return to
}

// stringLength is that of the string which the text begins with, quotes included.
func stringLength(text []byte) int {
	end := 1
	for {
		quote := bytes.IndexByte(text[end:], '"')
		if quote < 0 {
			return len(text)
		}
		end += quote + 1
		escapes := 0
		for text[end-2-escapes] == '\\' { // ends at the opening quote
			escapes++
		}
		if escapes%2 == 0 {
			return end
		}
	}
}
