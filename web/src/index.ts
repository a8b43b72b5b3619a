import { VitrinaPlayer } from "./player/element";

export { VitrinaPlayer };

if (!customElements.get("vitrina-player")) customElements.define("vitrina-player", VitrinaPlayer);

declare global {
  interface HTMLElementTagNameMap {
    "vitrina-player": VitrinaPlayer;
  }
}
